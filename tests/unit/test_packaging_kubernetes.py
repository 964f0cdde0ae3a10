"""The coordinator's Kubernetes manifests: what must hold of them together."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from coordinator.cli import main as coordinator

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"


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
