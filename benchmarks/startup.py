"""How long `--help` takes, against the promised 0.4 s."""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

LIMIT_SECONDS = 0.4


@dataclass(frozen=True)
class Row:
    """One program."""

    command: str
    best_seconds: float
    median_seconds: float
    limit_seconds: float


def measure(*, quick: bool) -> list[Row]:
    """Run each program's help five times (three if quick)."""
    rows = []
    for name, module in (("ff-agent", "client_agent.cli"), ("ff-coordinator", "coordinator.cli")):
        times = []
        for _ in range(3 if quick else 5):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", module, "--help"], stdout=subprocess.DEVNULL, check=True
            )
            times.append(time.perf_counter() - started)
        rows.append(Row(f"{name} --help", min(times), statistics.median(times), LIMIT_SECONDS))
    return rows
