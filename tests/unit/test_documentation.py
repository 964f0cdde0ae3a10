"""What the documents and examples say is true of the programs."""

import re
import shlex
from pathlib import Path

import click
import pytest

from client_agent.cli import main as agent
from client_agent.config import AgentConfig, read_config
from client_agent.generator.network import RawNetwork
from client_agent.generator.presets import preset_for
from client_agent.policy.file import SitePolicy
from client_agent.policy.release import ReleasePolicy
from coordinator.cli import main as coordinator
from ff_protocol.card import schema_text
from ff_protocol.schema import load_yaml, parse
from ff_protocol.spec import FederationSpec, read_spec

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROGRAMS: dict[str, click.Group] = {"ff-agent": agent, "ff-coordinator": coordinator}
MENTION = re.compile(r"\b(ff-agent|ff-coordinator)((?: +[^\s`|;#]+)*)")


def mentions():
    """Every command line of ours in a code block or in backticks; references come from the code."""
    for page in PAGES:
        if page.parent.name == "reference":
            continue
        text = page.read_text().replace("\\\n", " ")
        code = re.findall(r"```.*?```|`[^`]+`", text, flags=re.DOTALL)
        for line in "\n".join(code).splitlines():
            for program, arguments in MENTION.findall(line):
                if arguments.strip():
                    yield pytest.param(program, arguments, id=f"{page.name}:{program}{arguments}")


@pytest.mark.parametrize(("program", "arguments"), list(mentions()))
def test_every_command_in_the_documents_exists_with_its_options(program, arguments):
    words = shlex.split(arguments)
    if words[0].startswith("-"):
        return
    group = PROGRAMS[program]
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, f"{program} has no command {words[0]}"
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    for word in words[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help"}, f"{words[0]} has no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_repository_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_example_spec_is_valid_and_shows_the_defaults():
    spec = read_spec(ROOT / "configs" / "spec.example.yaml")
    plain = FederationSpec.model_validate({"classes": spec.classes, "image": spec.image})
    assert spec == plain


def test_the_example_for_gpus_is_valid_and_its_module_fits_its_own_limits():
    spec = read_spec(ROOT / "configs" / "spec.gpu.example.yaml")
    network = RawNetwork(preset_for(spec.preset, spec.image.size, spec.image.channels))
    weights = sum(values.numel() for values in network.parameters())
    assert weights < spec.policy.max_parameters
    assert 2 * weights < spec.policy.max_module_bytes  # in half precision


def test_the_example_configuration_is_valid_and_names_every_key():
    path = ROOT / "configs" / "agent.example.yaml"
    assert read_config(path)["budget"] == "10m"
    for key in AgentConfig.model_fields:
        assert re.search(rf"^(# )?{key}:", path.read_text(), flags=re.MULTILINE), key


def test_every_configuration_key_is_an_option_of_some_command():
    context = click.Context(agent)
    options = {
        parameter.name
        for name in agent.list_commands(context)
        for parameter in agent.get_command(context, name).params
    }
    assert set(AgentConfig.model_fields) <= options


def test_make_has_the_targets_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("install", "demo", "test", "lint", "proto", "bench", "clean"):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_published_schema_of_a_card_is_that_of_the_code():
    assert (ROOT / "docs" / "card.schema.json").read_text() == schema_text(), (
        "write ff_protocol.card.schema_text() to docs/card.schema.json, and see docs/card.md for "
        "when the version changes"
    )


def test_the_example_policy_is_valid_and_shows_the_defaults():
    text = (ROOT / "configs" / "policy.example.yaml").read_text()
    shown = parse(SitePolicy, load_yaml(text, "policy"), "policy")
    assert shown.release == ReleasePolicy()
    lifted = re.sub(r"^  # (?=thresholds:|  )", "  ", text, flags=re.MULTILINE)
    release = parse(SitePolicy, load_yaml(lifted, "policy"), "policy").release
    assert release.thresholds.root["coverage"] is None


def attacks():
    """Every row of the threat model's tables of attacks."""
    heading = None
    for line in (ROOT / "docs" / "threat-model.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heading = None
        elif heading is None:
            heading = cells
        elif heading[0] == "attack" and not set(line) <= set("|- "):
            yield pytest.param(heading, cells, id=cells[0][:60])


@pytest.fixture(scope="module")
def all_tests():
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for path in files for name in re.findall(r"def (test_\w+)\(", path.read_text())}


@pytest.mark.parametrize(("heading", "cells"), list(attacks()))
def test_every_attack_has_a_test_that_exists(heading, cells, all_tests):
    assert heading == ["attack", "what stops it", "what is left", "shown by"]
    assert len(cells) == len(heading)
    named = re.findall(r"`(test_\w+)`", cells[-1])
    assert named or cells[-1] == "not stopped", "no test shows it"
    assert set(named) <= all_tests, f"no such test: {set(named) - all_tests}"
