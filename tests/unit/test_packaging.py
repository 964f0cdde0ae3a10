"""Packaging, as far as it can be known without building; packaging/test.sh builds and installs.

Each of the programs asked here (shellcheck, systemd-analyze, unshare) may be missing: then its test
is skipped, and says so.
"""

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from client_agent.cli import main as agent
from client_agent.console import Console, execute
from client_agent.errors import ResourceError
from client_agent.temporary import temporary_folder
from coordinator.cli import main as coordinator
from ff_protocol.errors import ExitCode

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
        if command is None and words[1] in ("serve", "upgrade"):
            pytest.xfail(f"ff-agent {words[1]} is not merged yet")
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


# Container files and manifests


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


def manifests():
    found = []
    for path in sorted((PACKAGING / "kubernetes").glob("*.yaml")):
        found += [item for item in yaml.safe_load_all(path.read_text()) if item]
    return found


def pods():
    for item in manifests():
        if item["kind"] == "Deployment":
            yield item["metadata"]["name"], item["spec"]["template"]
        elif item["kind"] == "CronJob":
            yield item["metadata"]["name"], item["spec"]["jobTemplate"]["spec"]["template"]


def one(kind):
    (found,) = [item for item in manifests() if item["kind"] == kind]
    return found


@pytest.mark.parametrize(("name", "pod"), list(pods()))
def test_pods_have_no_right_that_they_do_not_need(name, pod):
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (
        str(spec["securityContext"]["runAsUser"])
        in (PACKAGING / "container" / "Containerfile.coordinator").read_text()
    )
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])
        for entry in container.get("env", ()):  # secrets by reference
            assert not re.search("KEY|SECRET|PASS", entry["name"]) or "valueFrom" in entry


def test_what_the_pods_run_exists():
    for _, pod in pods():
        for container in pod["spec"]["containers"]:
            command = coordinator.get_command(click.Context(coordinator), container["args"][0])
            known = {option for parameter in command.params for option in parameter.opts}
            given = {word.partition("=")[0] for word in container["args"][1:]}
            assert given <= known


def test_replicas_drain_before_they_are_killed():
    spec = one("Deployment")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    (grace,) = [word for word in container["args"] if word.startswith("--grace=")]
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = wait + int(grace.partition("=")[2]) + 2  # and what the server flushes
    assert pod["terminationGracePeriodSeconds"] > needed
    assert spec["replicas"] > 1
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_every_selector_finds_its_pods_and_every_port_is_one_of_theirs():
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    service, budget = one("Service")["spec"], one("PodDisruptionBudget")["spec"]
    assert service["selector"].items() <= labels
    assert budget["selector"]["matchLabels"].items() <= labels
    assert [port["targetPort"] for port in service["ports"]] == ["sites"], "and nothing else"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports["health"]
    listed = {word.partition("=")[0]: word.rpartition(":")[2] for word in container["args"]}
    assert (listed["--listen"], listed["--health"], listed["--metrics"]) == tuple(
        str(ports[name]) for name in ("sites", "health", "metrics")
    )
    policies = [item["spec"] for item in manifests() if item["kind"] == "NetworkPolicy"]
    chosen = [policy["podSelector"]["matchLabels"] for policy in policies]
    for _, pod in pods():
        assert any(labels.items() <= pod["metadata"]["labels"].items() for labels in chosen)
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies)


def test_the_home_comes_out_of_the_secret_as_it_went_in(tmp_path):
    """By the commands themselves: those of docs/installation.md, and the pod's."""
    home, secret, copy = (tmp_path / name for name in ("home", "secret", "copy"))
    files = {"coordinator.yaml": "a", "server/tls.key": "b", "authority/signing.pem": "c"}
    for name, text in {**files, "store/chunks/x": "not this"}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    page = (ROOT / "docs" / "installation.md").read_text()
    naming = re.search(r"find \. -type f.*?(?=\)\n)", page, flags=re.DOTALL)
    done = subprocess.run(
        ["sh", "-c", naming[0]], cwd=home, capture_output=True, text=True, check=True
    )
    secret.mkdir()
    for word in done.stdout.split():
        key, _, source = word.removeprefix("--from-file=").partition("=")
        assert re.fullmatch(r"[-._a-zA-Z0-9]+", key), "what a Secret's keys may be"
        shutil.copy(home / source, secret / key)
    (begin,) = one("Deployment")["spec"]["template"]["spec"]["initContainers"]
    script = begin["command"][2].replace("/secret", str(secret))
    copy.mkdir()
    subprocess.run(["sh", "-euc", script.replace("/home-of-coordinator", str(copy))], check=True)
    found = {str(path.relative_to(copy)): path for path in copy.rglob("*") if path.is_file()}
    assert {name: path.read_text() for name, path in found.items()} == files
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o600}


def test_every_manifest_is_in_the_kustomization():
    listed = one("Kustomization")["resources"]
    there = {path.name for path in (PACKAGING / "kubernetes").glob("*.yaml")}
    assert set(listed) == there - {"kustomization.yaml"}


def test_the_extra_for_gpus_does_not_bring_two_onnxruntimes():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert extras["gpu"] == ["federated-factory[agent]"]
    for extra in extras.values():
        assert not [need for need in extra if need.startswith("onnxruntime-gpu")]


# A temporary folder without room


def test_a_command_without_a_temporary_folder_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    """The real search of `tempfile`, among folders that cannot be written."""
    full = tmp_path / "full"  # a file is as little a folder as a full one
    full.touch()
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(full)])
    monkeypatch.setattr(tempfile, "tempdir", None)
    console = Console(as_json=False, quiet=False)
    assert execute(lambda: tempfile.gettempdir() and None, console) == ExitCode.RESOURCES
    error = capsys.readouterr().err
    assert f"no temporary folder can be written: '{full}'" in error
    assert "TMPDIR" in error
    with pytest.raises(ResourceError, match="no temporary folder"), temporary_folder():
        pass


def test_a_file_that_is_missing_is_not_taken_for_a_missing_temporary_folder():
    def work():
        Path("/nowhere/at/all").read_bytes()

    with pytest.raises(FileNotFoundError):
        execute(work, Console(as_json=False, quiet=True))


FILL = """
set -e
for folder in /tmp /var/tmp; do
    mount --rbind $folder $folder
    mount -o remount,bind,ro $folder
done
mount -t tmpfs -o size=64k none "$1"
cat /dev/zero >"$1/filler" 2>/dev/null || true
truncate --size=-$ROOM "$1/filler"
cd "$1"
export TMPDIR="$1"
exec "$2" -c "$3"
"""
DECODE = """
import sys
sys.path[0:0] = PATH
from client_agent.console import Console, execute
def work():
    from client_agent.preparation.decoding import _with_gdcm
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.51"
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = image.Columns = 512
    image.SamplesPerPixel, image.BitsAllocated, image.BitsStored = 1, 16, 12
    image.PixelRepresentation, image.PixelData = 0, encapsulate([bytes(200_000)])
    _with_gdcm(image, 0)
sys.exit(execute(work, Console(as_json=False, quiet=False)))
"""


@pytest.mark.parametrize(("room", "said"), [(0, "no temporary folder"), (8192, "no room for")])
def test_an_image_is_not_called_damaged_because_the_temporary_folder_is_full(tmp_path, room, said):
    """Full from the start, or with room for what `tempfile` tries and for no image."""
    arrange = [program("unshare"), "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run(
        [*arrange, "mount -t tmpfs none /mnt"], capture_output=True, check=False
    ).returncode:
        pytest.skip("mount namespaces are not permitted")
    fill = FILL.replace("$ROOM", str(room))
    code = DECODE.replace("PATH", repr([str(ROOT), str(ROOT / "proto")]))
    done = subprocess.run(
        [*arrange, fill, "sh", str(tmp_path), sys.executable, code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.RESOURCES, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert os.strerror(errno.ENOSPC) in done.stderr or room == 0
    assert "TMPDIR" in done.stderr
