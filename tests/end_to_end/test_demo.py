"""`ff-agent demo` on a data set of three classes of digits.

Most of a brief demonstration is a dozen processes that load torch. Where only its results are
looked at they are forked (tests/warm.py); how it ends and what it refuses is seen as a newcomer
sees it.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from client_agent.cli import main
from client_agent.demo.processes import Processes
from tests.agents import WARM
from tests.warm import WarmProcess

COMMAND = [sys.executable, "-m", "client_agent.cli"]
SITES = ("hospital-1", "hospital-2", "hospital-3")


def arguments(out: Path, digits: Path) -> list[str]:
    brief = ["--sites", "3", "--budget", "1s", "--samples", "20", "--seed", "3"]
    return ["demo", "--out", str(out), "--dataset", str(digits), *brief, "--json"]


def fork(processes: Processes, program: str, arguments: list[str], errors) -> WarmProcess:
    """Start a command of the demonstration; what it says to people goes to `errors`."""
    to_file = f"import os; os.dup2(os.open({errors.name!r}, os.O_WRONLY | os.O_APPEND), 2)"
    return WARM.start(program, arguments, before=to_file, environment=processes.cores.environment())


@pytest.fixture(scope="module")
def few(digits, tmp_path_factory) -> Path:
    """The digits with a fifth of their images for training: each arm takes a fifth of the time."""
    path = tmp_path_factory.mktemp("few") / digits.name
    with np.load(digits) as file:
        values = dict(file)
    for name in ("train_images", "train_labels"):
        values[name] = values[name][::5]
    np.savez(path, **values)
    return path


@pytest.fixture(scope="module")
def shown(tmp_path_factory, few):
    """A finished demonstration in a folder that held the remains of an earlier one."""
    out = tmp_path_factory.mktemp("demo") / "out"
    out.mkdir()
    (out / ".demonstration").touch()
    (out / "remains").write_text("of an earlier demonstration")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Processes, "_start", fork)
        done = CliRunner().invoke(main, arguments(out, few))
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout)


def test_the_demonstration_leaves_the_results_that_scripts_rely_on(shown):
    out, document = shown
    results = json.loads((out / "results.json").read_text())
    assert document == {"status": "ok", **results}
    assert set(results["arms"]) == {"own_classes", "fedavg", "federated_factory", "centralised"}
    for arm in (*results["arms"].values(), results["evidence"]):
        assert 0 <= arm["accuracy"] <= 1
        assert 0 <= arm["auroc"] <= 1
    assert (results["sites"], results["dataset"], results["seed"]) == (3, "digits", 3)
    assert results["bytes_per_site"] > 100_000
    assert results["modules"] == 3
    assert results["seconds"] > 1
    # Each hospital knows one class of three about equally frequent ones; pooling knows all.
    assert results["arms"]["own_classes"]["accuracy"] == pytest.approx(1 / 3, abs=0.02)
    assert results["arms"]["centralised"]["accuracy"] > 0.5


def test_the_demonstration_leaves_homes_images_and_a_contact_sheet(shown):
    from PIL import Image

    out, _ = shown
    assert not (out / "remains").exists()
    assert (out / "coordinator").is_dir()
    for site in SITES:
        assert (out / "sites" / site / "site.yaml").is_file()
        assert any((out / "images" / site).rglob("*.dcm"))
    with Image.open(out / "synthetic.png") as sheet:
        assert np.asarray(sheet).std() > 0


def test_after_the_revocation_every_classifier_has_the_same_bytes(shown):
    out, document = shown
    assert document["revocation"]["identical"] is True
    files = [path.read_bytes() for path in out.glob("sites/*/classifier/classifier.onnx")]
    assert len(files) >= 4
    assert len(set(files)) == 1
    gone = set(document["revocation"]["classes_before"]) - set(
        document["revocation"]["classes_after"]
    )
    assert gone == {"two"}


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_ctrl_c_stops_every_process_within_seconds(tmp_path, digits):
    process = subprocess.Popen(
        [*COMMAND, *arguments(tmp_path / "out", digits)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    # The coordinator and at least one hospital at work.
    while len(children := descendants(process.pid)) < 2 or not list(
        (tmp_path / "out" / "sites").glob("*/site.yaml")
    ):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - before < 25
    assert process.returncode == 130, err
    assert json.loads(out)["error_code"] == "interrupted"
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=2)
    assert alive == []


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, digits):
    (tmp_path / "thesis.tex").write_text("years of work")
    command = [*COMMAND, *arguments(tmp_path, digits)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "something else" in json.loads(done.stdout)["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
