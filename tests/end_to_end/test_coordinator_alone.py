"""The coordinator in an environment of its own: the base dependencies and nothing numerical."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from tests.federation import SPEC

ROOT = Path(__file__).parents[2]
NUMERICAL = ("numpy", "torch", "onnxruntime", "onnx", "diffusers", "monai", "sklearn", "pydicom")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with the base package only."""
    folder = tmp_path_factory.mktemp("coordinator") / "venv"
    venv.create(folder)
    python = folder / "bin" / "python"
    # Our own pip fills it: an environment that gets a pip of its own takes twice as long.
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    pip += ["--retries", "1", "--timeout", "15"]
    probe = [*pip, "download", "--quiet", "--no-deps", "--dest", folder / "probe", "click"]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("pip reaches no package registry: the coordinator's environment is not made")
    constraints = ROOT / "packaging" / "constraints.txt"
    install = [*pip, "install", "--quiet", "--no-compile", "-c", constraints, ROOT]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


def test_the_server_imports_where_nothing_numerical_is_installed(python, tmp_path):
    program = (
        "import importlib.util, json, coordinator, coordinator.server;"
        f"print(json.dumps([n for n in {NUMERICAL} if importlib.util.find_spec(n)]))"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_federation_is_founded_and_served_there(python, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(SPEC))
    program = [python.with_name("ff-coordinator")]
    home = ["--home", tmp_path / "home", "--json"]
    init = [*program, "init", "--federation", "test", "--spec", spec, *home]
    done = subprocess.run(init, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["status"] == "ok"
    serve = [*program, "serve", "--listen", "127.0.0.1:0", *home]
    with subprocess.Popen(
        serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as server:
        assert server.stdout is not None
        try:
            assert json.loads(server.stdout.readline())["listening"].startswith("127.0.0.1:")
        finally:
            server.terminate()
        server.communicate(timeout=20)
    assert server.returncode in (0, 130)


def test_the_agents_help_needs_no_more_than_that(python, tmp_path):
    program = [python.with_name("ff-agent"), "--help"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
