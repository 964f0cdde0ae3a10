"""`python -m benchmarks`: measure, print tables, write results.json."""

import importlib
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import SHARED_DATA, describe_environment
from client_agent.console import show_table
from ff_protocol import canonical
from ff_protocol.files import write_atomically

ALWAYS = ("startup", "training", "sampling", "round_trip", "relay")
NAMES = (*ALWAYS, "presets", "prediction", "scan", "unlearning", "flood", "engines")
TITLES = {
    "startup": "start-up",
    "training": "training a generator (preset tiny, all cores)",
    "sampling": "sampling a module, batch 64",
    "round_trip": "whole federation: bytes, memory, accuracy",
    "relay": "the relay: throughput in proportion, CPU, many sites, Flower",
    "presets": "generator presets: size, training, sampling (all cores)",
    "prediction": "probabilities and the out-of-distribution flag on real images",
    "scan": "scanning DICOM files without their pixels",
    "unlearning": "revoking against redoing the federation, and attacks before and after",
    "engines": "two classes at once: processes of this machine against Ray",
    "flood": "strangers who flood the coordinator, and what a member notices",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-output"))
@click.option("--quick", is_flag=True, help="Seconds instead of minutes; figures are rough.")
@click.option("--dataset", help="round_trip on this MedMNIST-style FILE.npz, or `shared`.")
@click.option("--sites", type=click.IntRange(2), help="[default: one per class]")
@click.option("--budget", type=float, default=120, show_default=True, help="Seconds per site.")
@click.option("--steps", type=click.IntRange(1), help="unlearning: steps a module, not --budget.")
@click.option("--samples", type=click.IntRange(10), default=500, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(
    names: tuple[str, ...],
    out: Path,
    quick: bool,
    dataset: str | None,
    sites: int | None,
    budget: float,
    steps: int | None,
    samples: int,
    seed: int,
) -> None:
    """Measure what docs/benchmarks.md publishes; `recover --help` compares ways of learning,
    `audit --help` looks for planted leaks, `scale --help` makes federations of thousands of sites.

    Without NAMES the first five are run, in about ten minutes on two cores. With --dataset the
    round trip (or unlearning) is run on that file instead; `--dataset shared` takes the real images
    beside the checkout. `unlearning` takes --budget as seconds per module, and about half an hour
    as it stands.
    """
    results: dict[str, Any] = {
        "command": "python -m benchmarks " + shlex.join(sys.argv[1:]),
        "environment": describe_environment(),
        "seed": seed,
    }
    for name in names or ALWAYS:
        if name == "round_trip" and dataset is not None:
            from benchmarks.round_trip import measure_set

            rows = [
                measure_set(item, sites=sites, seconds_per_site=budget, samples=samples, seed=seed)
                for item in _datasets(dataset)
            ]
        elif name == "unlearning":
            from benchmarks.unlearning import measure

            rows = measure(
                quick=quick, dataset=dataset, seconds=budget, steps=steps, samples=samples
            )
        else:
            rows = importlib.import_module(f"benchmarks.{name}").measure(quick=quick)
        results[name] = [asdict(row) for row in rows]
        _show(TITLES[name], results[name])
    for key, value in results["environment"].items():
        print(f"{key}: {value}")
    print(f"command: {results['command']}")
    write_atomically(out / "results.json", canonical.dumps(results))
    print(f"written: {out / 'results.json'}")


def _datasets(dataset: str) -> list[str]:
    if dataset != "shared":
        return [dataset]
    from benchmarks.images import REAL_SETS

    paths = [SHARED_DATA / f"{name}.npz" for name in REAL_SETS]
    found = [str(path) for path in paths if path.is_file()]
    if not found:
        raise click.UsageError("there is no shared/data folder beside this checkout")
    return found


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as one table, transposed if there is only one."""
    print()
    if len(rows) == 1:
        show_table(title, ["", ""], [[key, _text(value)] for key, value in rows[0].items()])
        return
    columns = [name.replace("_", " ") for name in rows[0]]
    show_table(title, columns, [[_text(value) for value in row.values()] for row in rows])


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if type(value) is int else str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def run() -> None:
    """Hand `audit`, `recover` and `scale`, which have options of their own, to their commands."""
    if sys.argv[1:2] == ["audit"]:
        from benchmarks.audit import main as audit

        audit(args=sys.argv[2:], prog_name="python -m benchmarks audit")
    elif sys.argv[1:2] == ["recover"]:
        from benchmarks.recover import main as recover

        recover(args=sys.argv[2:], prog_name="python -m benchmarks recover")
    elif sys.argv[1:2] == ["scale"]:
        from benchmarks.scale import main as scale

        scale(args=sys.argv[2:], prog_name="python -m benchmarks scale")
    else:
        main(prog_name="python -m benchmarks")


if __name__ == "__main__":
    run()
