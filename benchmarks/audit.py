"""`python -m benchmarks audit`: does the audit find planted leaks and pass honest ones?

Each trial is seeded by its number and kept in DIR/trials, so that a run that was stopped goes on;
DIR/results.json has the rates, every trial's figures, and where they were taken; DIR/table.md the
table for docs/benchmarks.md.
"""

import json
import shlex
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import describe_environment
from benchmarks.leaks.trials import HONEST, KINDS, LEAKS, OBSERVED, Audited, run_trial
from client_agent.audit.intervals import clopper_pearson
from client_agent.console import show_table
from ff_protocol import canonical
from ff_protocol.files import write_atomically

TRIALS = 50
QUICK_TRIALS = 2
GOALS = {**dict.fromkeys(LEAKS, 0.99), **dict.fromkeys(HONEST, 0.05)}
GOALS.update({name: 0.95 for name in LEAKS if name.startswith("10 %")})


@click.command("audit", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("audit-output"),
              show_default=True)  # fmt: skip
@click.option("--trials", type=click.IntRange(1), default=TRIALS, show_default=True)
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="First seed.")
@click.option("--kinds", default=",".join(KINDS), show_default=True, help="Comma-separated.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Trials side by side, one thread each if several.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Two trials of replayed digits only.")
def main(out: Path, trials: int, first: int, kinds: str, jobs: int, quick: bool) -> None:
    """Plant leaks in real images, audit them, and count what the gate finds.

    All trials take about half an hour of a quiet core. Seeds are the trials' numbers, from --first.
    """
    chosen = ["digits"] if quick else kinds.split(",")
    if unknown := set(chosen) - {*KINDS, "digits"}:
        raise click.BadParameter(f"{', '.join(unknown)}; choose from {', '.join(KINDS)}")
    count = QUICK_TRIALS if quick else trials
    wanted = [
        (out / "trials", kind, trial) for trial in range(first, first + count) for kind in chosen
    ]
    (out / "trials").mkdir(parents=True, exist_ok=True)
    if jobs == 1:
        kept = [_keep_trial(item) for item in wanted]
    else:
        with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_one_thread) as pool:
            kept = list(pool.map(_keep_trial, wanted))
    audited = [Audited.from_dict(row) for trial in kept for row in trial["audits"]]
    given = sys.argv[2:] if sys.argv[1:2] == ["audit"] else sys.argv[1:]
    results = {
        "command": "python -m benchmarks audit " + shlex.join(given),
        "environment": describe_environment(),
        "seeds": [first, first + count - 1],
        "core_seconds": sum(trial["core_seconds"] for trial in kept),
        "rates": rates(audited),
        "trials": [{**row.to_dict(), "failed": list(row.failed)} for row in audited],
    }
    write_atomically(out / "results.json", canonical.dumps(results))
    write_atomically(out / "table.md", _markdown(results["rates"]).encode())
    _show(results)
    print(f"written: {out / 'results.json'}")


def rates(rows: Iterable[Audited]) -> list[dict[str, Any]]:
    """Count refusals by generator: share, 95 % interval, goal, and the figures that failed."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        found.setdefault(row.generator, []).append(row.failed)
    counted = []
    for name in (*LEAKS, *HONEST, *OBSERVED):
        verdicts = found.get(name)
        if not verdicts:
            continue
        refused = sum(bool(failed) for failed in verdicts)
        low, high = clopper_pearson(refused, len(verdicts))
        rate = refused / len(verdicts)
        figures = sorted({figure for failed in verdicts for figure in failed})
        counted.append(
            {
                "generator": name,
                "honest": name in HONEST,
                "trials": len(verdicts),
                "refused": rate,
                "low": low,
                "high": high,
                "goal": GOALS.get(name),
                "reached": _reached(name, rate),
                "by_figure": {f: sum(f in failed for failed in verdicts) for f in figures},
            }
        )
    return counted


def _reached(name: str, rate: float) -> bool | None:
    if name in OBSERVED:
        return None
    return rate <= GOALS[name] if name in HONEST else rate >= GOALS[name]


def _keep_trial(wanted: tuple[Path, str, int]) -> dict[str, Any]:
    """Return a trial's outcome, from its file if there is one."""
    folder, kind, number = wanted
    path = folder / f"{kind}-{number:03}.json"
    if not path.is_file():
        started = time.process_time()
        audits = [audited.to_dict() for audited in run_trial(kind, number)]
        outcome = {"core_seconds": time.process_time() - started, "audits": audits}
        write_atomically(path, canonical.dumps(outcome))
    return json.loads(path.read_text())


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


_COLUMNS = ["generator", "trials", "refused (95 %)", "goal", "by, of the trials"]


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["generator"],
        f"{row['trials']}",
        f"{row['refused']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
        f"{'<=' if row['honest'] else '>='} {row['goal']}" if row["goal"] else "",
        ", ".join(f"{name} {count}" for name, count in row["by_figure"].items()),
    ]


def _markdown(rows: list[dict[str, Any]]) -> str:
    """The table of docs/benchmarks.md."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _show(results: dict[str, Any]) -> None:
    show_table("audit of planted leaks", _COLUMNS, [_cells(row) for row in results["rates"]])
    for key, value in results["environment"].items():
        print(f"{key}: {value}")
    print(f"seeds: {results['seeds'][0]} to {results['seeds'][1]}")
    print(f"core seconds: {results['core_seconds']:.0f}")
    print(f"command: {results['command']}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks audit")
