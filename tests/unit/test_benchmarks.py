"""The benchmarks run, in their quick form, and keep what they promise beside each figure."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "benchmarks", "startup", "training", "sampling", "--quick"]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "results.json").read_text())


def test_figures_come_with_command_machine_versions_seed_and_commit(results):
    printed, stored = results
    environment = stored["environment"]
    assert stored["command"].startswith("python -m benchmarks startup training sampling --quick")
    assert stored["seed"] == 0
    assert environment["cores"] >= 1
    assert environment["libraries"]["torch"]
    for text in ("commit", "processor", "command: python -m benchmarks"):
        assert text in printed


def test_training_is_put_in_proportion_to_the_matrix_rate(results):
    (row,) = results[1]["training"]
    assert row["images_per_second"] > 0
    assert row["share_of_fp32"] == pytest.approx(row["training_gflops"] / row["fp32_matrix_gflops"])
    assert 0 < row["share_of_fp32"] < 3


def test_sampling_compares_both_engines_with_the_same_weights(results):
    for row in results[1]["sampling"]:
        assert row["ratio"] == pytest.approx(
            row["onnxruntime_images_per_second"] / row["torch_images_per_second"]
        )
        assert row["module_bytes"] < 4 * 2**20


def test_help_is_measured_against_the_promise(results):
    assert {row["limit_seconds"] for row in results[1]["startup"]} == {0.4}
