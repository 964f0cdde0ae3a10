"""A whole demonstration on a data set: accuracy of the four arms, bytes, seconds, memory.

The demonstration's processes are real; their peak resident memory is read from the kernel.
"""

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client_agent.demo.datasets import load_demo_data

MEGABYTE = 1e6
COORDINATOR_LIMIT_MB = 120.0
AGENT_LIMIT_MB = 3000.0


@dataclass(frozen=True)
class Row:
    """One data set. Memory is in units of 1e6 bytes."""

    dataset: str
    sites: int
    seconds_per_site: float
    federated_factory: float
    federated_factory_auroc: float
    centralised: float
    share_of_centralised: float
    fedavg: float
    own_classes: float
    bytes_per_site: int
    fedavg_bytes_per_site: int
    bit_identical_after_revocation: bool
    seconds: float
    coordinator_peak_mb: float
    coordinator_limit_mb: float
    largest_process_peak_mb: float
    agent_limit_mb: float


def measure_set(
    dataset: str, *, sites: int, seconds_per_site: float, samples: int, seed: int
) -> Row:
    """Run `ff-agent demo` on a data set and collect what it measured.

    Args:
        dataset: as `ff-agent demo --dataset` takes it.
        sites: number of hospitals; None takes one per class.
        seconds_per_site: training time of each.
        samples: synthetic images per class.
        seed: of everything random.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        command = [sys.executable, "-m", "client_agent.cli", "demo", "--dataset", dataset]
        command += ["--out", str(out), "--samples", str(samples)]
        command += ["--sites", str(sites)] if sites else []
        command += ["--budget", f"{round(seconds_per_site)}s", "--seed", str(seed), "--quiet"]
        subprocess.run(command, check=True)
        results = json.loads((out / "results.json").read_text())
    arms = results["arms"]
    ours, central = arms["federated_factory"], arms["centralised"]
    # Of all descendants waited for so far, the kernel keeps the largest peak, in KiB.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Row(
        dataset=results["dataset"],
        sites=results["sites"],
        seconds_per_site=seconds_per_site,
        federated_factory=ours["accuracy"],
        federated_factory_auroc=ours["auroc"],
        centralised=central["accuracy"],
        share_of_centralised=ours["accuracy"] / central["accuracy"],
        fedavg=arms["fedavg"]["accuracy"],
        own_classes=arms["own_classes"]["accuracy"],
        bytes_per_site=ours["bytes_per_site"],
        fedavg_bytes_per_site=arms["fedavg"]["bytes_per_site"],
        bit_identical_after_revocation=results["revocation"]["identical"],
        seconds=results["seconds"],
        coordinator_peak_mb=(results["coordinator_peak_bytes"] or 0) / MEGABYTE,
        coordinator_limit_mb=COORDINATOR_LIMIT_MB,
        largest_process_peak_mb=peak / MEGABYTE,
        agent_limit_mb=AGENT_LIMIT_MB,
    )


def measure(*, quick: bool) -> list[Row]:
    """A small federation at 32 px: bytes sent per site and peak memory of both programs."""
    seconds = 4.0 if quick else 20.0
    with tempfile.TemporaryDirectory() as folder:
        path = _enlarged_digits(Path(folder) / "digits-at-32-px.npz")
        return [measure_set(str(path), sites=None, seconds_per_site=seconds, samples=100, seed=0)]


def _enlarged_digits(path: Path) -> Path:
    """Three classes of digits, each pixel enlarged to 4 x 4: for memory, not for accuracy."""
    data = load_demo_data("digits", path.parent, seed=0)
    arrays = {}
    for split, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        kept = labels < 3
        arrays[f"{split}_images"] = images[kept].repeat(4, axis=1).repeat(4, axis=2)
        arrays[f"{split}_labels"] = labels[kept, None]
    np.savez(path, **arrays)
    return path
