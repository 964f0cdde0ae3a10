"""`python -m benchmarks scale`: what a site and the coordinator pay as a federation grows.

Federations of each size are made with real keys, certificates, publications, heads and revocations
and stub weights, through the coordinator's own code into its own store; then a real coordinator
process serves it to real clients over loopback TLS. CPU seconds are what counts: other work on the
machine does not lengthen them. DIR/results.json has every figure with where it was taken.
"""

import math
import shlex
import sys
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import describe_environment
from benchmarks.large.measures import Row, measure_size
from client_agent.console import show_table
from ff_protocol import canonical
from ff_protocol.files import write_atomically

SIZES, QUICK = "10,100,1000,10000", "4,16"


@click.command("scale", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sites", default=SIZES, show_default=True, help="Comma-separated sizes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("scale-output"),
              show_default=True)  # fmt: skip
@click.option("--work", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Where stores and homes lie meanwhile, for example /dev/shm.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--quick", is_flag=True, help=f"Sizes {QUICK}, in seconds.")
def main(sites: str, out: Path, work: Path | None, seed: int, quick: bool) -> None:
    """Measure federations of several sizes and print how each figure grows.

    All four sizes take about four minutes of processor time.
    """
    sizes = _sizes(QUICK if quick else sites)
    results: dict[str, Any] = {
        "command": "python -m benchmarks " + shlex.join(sys.argv[1:]),
        "environment": describe_environment(),
        "seed": seed,
        "rows": [],
    }
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            row = measure_size(size, Path(folder) / "scale", seed, sample=3 if quick else 20)
        results["rows"].append(asdict(row))
        results["exponents"] = growth(results["rows"])
        # After every size: a run that is stopped leaves what it has measured.
        write_atomically(out / "results.json", canonical.dumps(results))
    _show(results)
    print(f"written: {out / 'results.json'}")


def growth(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the exponent with which each figure grows: the slope of its logarithm.

    Between the largest two sizes, where constant costs weigh least: 0 is constant, 1 linear. None
    where there is one size only, or a figure is 0.
    """
    exponents: dict[str, float | None] = {}
    for name in (item.name for item in fields(Row) if item.name != "sites"):
        exponents[name] = None
        if len(rows) > 1:
            (small, before), (large, after) = (
                (row["sites"], row[name]) for row in sorted(rows, key=lambda row: row["sites"])[-2:]
            )
            if before > 0 and after > 0:
                exponents[name] = math.log(after / before) / math.log(large / small)
    return exponents


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(item) for item in text.split(",")})
    except ValueError as error:
        raise click.BadParameter(f"--sites {text!r}: numbers between commas") from error
    if not sizes or sizes[0] < 1 or sizes[-1] > 99_000:
        raise click.BadParameter("--sites takes 1 to 99,000")
    return sizes


def _show(results: dict[str, Any]) -> None:
    rows, exponents = results["rows"], results["exponents"]
    lines = [
        [
            name.replace("_", " "),
            *(_text(row[name]) for row in rows),
            "" if exponents[name] is None else f"{exponents[name]:.2f}",
        ]
        for name in exponents
    ]
    columns = ["", *(f"{row['sites']:,}" for row in rows), "exponent"]
    show_table("federations by number of sites", columns, lines)
    for key, value in results["environment"].items():
        print(f"{key}: {value}")
    print(f"seed: {results['seed']}")
    print(f"command: {results['command']}")


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks scale")
