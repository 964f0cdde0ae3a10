"""Packaging, as far as it can be known without building; packaging/test.sh builds and installs.

Each of the programs asked here (shellcheck, systemd-analyze, unshare) may be missing: then its test
is skipped, and says so.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from client_agent.cli import main as agent
from coordinator.cli import main as coordinator

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
UNITS = sorted(
    path for path in (PACKAGING / "systemd").iterdir() if path.suffix in (".service", ".timer")
)
SCRIPTS = sorted([*PACKAGING.rglob("*.sh"), *PACKAGING.rglob("*.in")])
CONTAINERS = sorted((PACKAGING / "container").glob("Containerfile.*"))
EXPOSURE = {"ff-coordinator": 1.5, "ff-agent": 2.2, "ff-agent-run": 2.2}
"""Of 10, as `systemd-analyze security` counts: lower is tighter."""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def settings(unit: Path) -> list[tuple[str, str]]:
    """Every `Key=value` of a unit, in order."""
    lines = re.sub(r"\\\n", " ", unit.read_text()).splitlines()
    return [(key, value) for key, sign, value in (line.partition("=") for line in lines) if sign]


# Units


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A root folder in which the programs that units name exist."""
    system = Path("/lib/systemd/system")
    if not system.is_dir():
        pytest.skip("systemd is not installed")
    root = tmp_path_factory.mktemp("machine")
    shutil.copytree(system, root / "lib/systemd/system", symlinks=True)
    (root / "etc/systemd/system").mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, root / "etc/systemd/system")
        for key, value in settings(unit):
            if key.startswith("Exec"):
                path = root / value.split()[0].lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("#!/bin/sh\n")
                path.chmod(0o755)
    for page in (
        "federated-factory-agent/installation.md",
        "federated-factory-coordinator/operations.md",
    ):
        (root / "usr/share/doc" / page).parent.mkdir(parents=True, exist_ok=True)
        (root / "usr/share/doc" / page).touch()
    return root


def test_systemd_finds_nothing_wrong_with_the_units(machine):
    verify = [program("systemd-analyze"), "verify", f"--root={machine}", *(u.name for u in UNITS)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", EXPOSURE)
def test_the_units_are_confined(name):
    command = [program("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    unit = PACKAGING / "systemd" / f"{name}.service"
    done = subprocess.run([*command, str(unit)], capture_output=True, text=True, check=False)
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if level is None:
        pytest.skip(f"systemd-analyze cannot look at a file here: {done.stderr.strip()[:100]}")
    assert float(level[1]) <= EXPOSURE[name]


@pytest.mark.parametrize("name", ["ff-agent", "ff-agent-run"])
def test_the_agents_units_leave_the_sandbox_what_it_is_made_of(name):
    found = settings(PACKAGING / "systemd" / f"{name}.service")
    allowed = {value for key, value in found if key == "RestrictNamespaces"}
    assert allowed == {"user net ipc"}
    calls = " ".join(value for key, value in found if key == "SystemCallFilter").split()
    landlock = {f"landlock_{what}" for what in ("create_ruleset", "add_rule", "restrict_self")}
    assert {*landlock, "seccomp", "@system-service"} <= set(calls)
    keys = {key for key, value in found if value == "yes"}
    assert "NoNewPrivileges" in keys
    assert not keys & {"MemoryDenyWriteExecute", "PrivateNetwork"}


def test_both_ways_of_running_the_agent_are_confined_alike():
    own = {"Type", "ExecStart", "SuccessExitStatus", "TimeoutStartSec", "Description"}
    own |= {"NotifyAccess", "WatchdogSec", "ExecReload"}  # a service tells how it is
    restart = {"Restart", "RestartSec", "RestartPreventExitStatus", "WantedBy"}
    limits = {"StartLimitIntervalSec", "StartLimitBurst"}
    serve, run = (
        [
            pair
            for pair in settings(PACKAGING / "systemd" / name)
            if pair[0] not in own | restart | limits
        ]
        for name in ("ff-agent.service", "ff-agent-run.service")
    )
    assert serve == run


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_call_options_that_exist(unit):
    for key, value in settings(unit):
        if not key.startswith("Exec"):
            continue
        words = value.split()
        name = words[0].rpartition("/")[2]
        group = {"ff-agent": agent, "ff-coordinator": coordinator}.get(name)
        if group is None:
            continue
        command = group.get_command(click.Context(group), words[1])
        assert command is not None, words[1]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


# Scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script):
    if not script.read_text().startswith("#!"):
        return
    checked = script.read_text().replace("@PART@", "agent")
    command = [program("shellcheck"), "--shell=sh", "-"]
    done = subprocess.run(command, input=checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def wheelhouse(tmp_path):
    """What the installer looks at before it installs anything."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    shutil.copy(PACKAGING / "install.sh", folder)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    text = f"role: coordinator\npython: {version}\nmachine: {os.uname().machine}\nunpacked-kib: 9\n"
    (folder / "wheelhouse.txt").write_text(text)
    (folder / "requirements.txt").write_text("")
    return folder


def install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    names = [path.name for path in folder.iterdir() if path.name != "SHA256SUMS"]
    if not (folder / "SHA256SUMS").exists():
        sums = subprocess.run(
            ["sha256sum", *names], cwd=folder, capture_output=True, text=True, check=True
        )
        (folder / "SHA256SUMS").write_text(sums.stdout)
    command = ["sh", str(folder / "install.sh"), "--python", sys.executable]
    prefix = str(folder.parent / "prefix")
    return subprocess.run(
        [*command, "--prefix", prefix, *arguments], capture_output=True, text=True, check=False
    )


def refused(done: subprocess.CompletedProcess[str], folder: Path, text: str) -> None:
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.parent.glob("prefix*"))


def test_the_installer_refuses_a_wheelhouse_that_was_changed(wheelhouse):
    (wheelhouse / "SHA256SUMS").write_text(f"{'0' * 64}  requirements.txt\n")
    refused(install(wheelhouse), wheelhouse, "damaged or was changed: nothing was installed")


def test_the_installer_refuses_another_python(wheelhouse):
    text = (wheelhouse / "wheelhouse.txt").read_text()
    (wheelhouse / "wheelhouse.txt").write_text(re.sub("python: .*", "python: 2.7", text))
    refused(install(wheelhouse), wheelhouse, "these wheels are for Python 2.7")


def test_the_installer_wants_room_before_it_begins(wheelhouse):
    text = (wheelhouse / "wheelhouse.txt").read_text()
    (wheelhouse / "wheelhouse.txt").write_text(re.sub("kib: .*", f"kib: {1 << 50}", text))
    refused(install(wheelhouse), wheelhouse, "nothing was installed")


def test_every_wheel_that_was_tested_is_of_a_pinned_version():
    """And the other way about, for what the coordinator needs."""
    pins = {}
    for line in (PACKAGING / "constraints.txt").read_text().splitlines():
        name, sign, version = line.partition("==")
        if sign:
            pins[re.sub(r"[-_.]+", "_", name).lower()] = version
    tested = {}
    for line in (PACKAGING / "wheels.sha256").read_text().splitlines():
        if not line.startswith("#"):
            digest, file = line.split()
            assert re.fullmatch("[0-9a-f]{64}", digest)
            name, version, *_ = file.split("-")
            tested[re.sub(r"[-_.]+", "_", name).lower()] = version
    assert {name: pins.get(name) for name in tested} == tested
    base = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {re.sub(r"[-_.]+", "_", re.split(r"[^\w.-]", need)[0]).lower() for need in base}
    assert needed <= set(tested)


# Container files


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_container_files_end_without_tools_and_without_root(path):
    build, final = re.split(r"^FROM \$\{BASE\}$", path.read_text(), flags=re.MULTILINE)
    assert re.search(r"^ARG BASE=\S+:[\w.-]*\d[\w.-]*$", build, flags=re.MULTILINE), "a pinned tag"
    assert "packaging/wheelhouse.sh" in build
    assert "install.sh --destdir" in build
    run = " ".join(re.findall(r"^RUN (.*(?:\n +.*)*)", final, flags=re.MULTILINE))
    assert not re.search(r"\bpip\b|gcc|build-essential|-dev\b|curl|wget", run)
    (user,) = re.findall(r"^USER (\d+):\d+$", final, flags=re.MULTILINE)
    assert int(user) >= 1000
    assert final.index("USER ") > final.rindex("RUN ")
    for label in ("title", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in final
    assert re.findall(r"^COPY (.*)$", final, flags=re.MULTILINE) == ["--from=build /tree /"]


def test_the_extra_for_gpus_does_not_bring_two_onnxruntimes():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert extras["gpu"] == ["federated-factory[agent]"]
    for extra in extras.values():
        assert not [need for need in extra if need.startswith("onnxruntime-gpu")]
