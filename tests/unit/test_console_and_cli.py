"""The command lines themselves: quick to answer, explained, and their faults documented."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

import client_agent
import client_agent.cli
import coordinator
import coordinator.cli
import ff_protocol
from ff_protocol.errors import ExitCode, FederatedFactoryError

PAGE = Path(__file__).parents[2] / "docs" / "exit-codes.md"
PROGRAMS = {"client_agent.cli": client_agent.cli.main, "coordinator.cli": coordinator.cli.main}
COMMANDS = [
    (module, name) for module, main in PROGRAMS.items() for name in main.list_commands(None)
]
HEAVY = ("torch", "numpy", "grpc", "pydantic", "diffusers", "onnx", "onnxruntime", "rich")


def invoke(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("module", PROGRAMS)
def test_help_answers_in_less_than_four_tenths_of_a_second(module):
    seconds = []
    for _ in range(3):
        before = time.monotonic()
        finished = invoke("-m", module, "--help")
        seconds.append(time.monotonic() - before)
        assert finished.returncode == 0
        assert "Usage:" in finished.stdout
    # Other tests share the cores: the processor's own time is the fair measure then.
    used = os.times()
    invoke("-m", module, "--help")
    after = os.times()
    busy = after.children_user + after.children_system - used.children_user - used.children_system
    assert min(*seconds, busy) < 0.4


@pytest.mark.parametrize("module", PROGRAMS)
def test_help_imports_nothing_heavy(module):
    finished = invoke("-X", "importtime", "-m", module, "--help")
    loaded = set(re.findall(r"\|\s*([\w.]+)$", finished.stderr, re.MULTILINE))
    assert "click" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_every_command_explains_itself_and_its_options(module, name):
    command = PROGRAMS[module].get_command(None, name)
    assert command.help, "a command without a docstring"
    options = [item for item in command.params if isinstance(item, click.Option)]
    for option in options:
        assert option.help, f"--{option.name} has no help"
    names = {flag for option in options for flag in option.opts}
    assert {"--home", "--json", "--quiet"} <= names


def fault_classes() -> "set[type[FederatedFactoryError]]":
    """Every foreseeable fault of either program."""
    for package in (client_agent, coordinator, ff_protocol):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(found.name)
    found, waiting = set(), [FederatedFactoryError]
    while waiting:
        waiting.extend(children := waiting.pop().__subclasses__())
        found.update(children)
    return {kind for kind in found if not kind.__module__.startswith("tests")}


def test_the_page_lists_the_exit_codes_of_the_enumeration():
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == {code.name: int(code) for code in ExitCode}


def test_the_page_lists_every_error_identifier_with_its_exit_code():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    listed = {(name, int(code)) for name, code in rows}
    kinds = fault_classes()
    bases = {kind for kind in kinds if kind.error_code == FederatedFactoryError.error_code}
    assert {kind.__name__ for kind in bases} == {"AgentError", "CoordinatorError"}
    assert listed == {(kind.error_code, int(kind.exit_code)) for kind in kinds - bases}


def test_an_unknown_option_is_a_usage_error():
    finished = invoke("-m", "client_agent.cli", "status", "--nonsense")
    assert finished.returncode == ExitCode.USAGE
    assert "--nonsense" in finished.stderr
