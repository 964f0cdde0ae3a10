"""Poisoned modules: how often admission's comparison finds one, how often it accuses an honest one.

The images are real; each site has its own simulated scanner. A module stands for 128 samples, in
one of two ways: real images of its class that no other module of the trial has (`real`: what a
perfect generator would make), or draws from the Gaussian that fits its training images, which is
the worst generator that anyone would send (`gaussian`; blurred, no network trained). Training a
diffusion model for each module of each trial would take days.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from benchmarks.environment import SHARED_DATA, describe_environment
from benchmarks.recovery.scanners import Scanner, make_scanners
from client_agent.comparison.compare import Known, compare
from client_agent.comparison.features import Floats, features
from client_agent.console import show_table
from client_agent.sources.npz import read_npz_split
from ff_protocol import canonical
from ff_protocol.files import write_atomically

SETS = ("bloodcells28", "brainmri28", "mednist12k_28", "busi28")
SAMPLES, TRAINED_ON = 128, 512
Kind = Literal["real", "gaussian"]
KNOWLEDGE = ("own class only", "class is new here", "class is known")


@dataclass(frozen=True)
class Rate:
    """Flagged modules among the trials of one kind, with its 95 % Wilson interval."""

    dataset: str
    source: str
    knowledge: str
    module: str
    trials: int
    flagged: int
    rate: float
    low: float
    high: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("poison-output"))
@click.option("--trials", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Of the first trial; the thresholds were chosen on seeds 0 to 23.",
)
@click.option("--dataset", "datasets", multiple=True, help="[default: four sets beside it]")
@click.option("--samples", type=click.Choice(["real", "gaussian"]), multiple=True)
def main(
    out: Path, trials: int, seed: int, datasets: tuple[str, ...], samples: tuple[Kind, ...]
) -> None:
    """Measure detection and false alarms; writes DIR/results.json."""
    rows: list[Rate] = []
    raw: list[dict[str, Any]] = []
    for path in [Path(item) for item in datasets] or [SHARED_DATA / f"{n}.npz" for n in SETS]:
        images, labels, _ = read_npz_split(path, "train")
        for kind in samples or ("real", "gaussian"):
            found = [
                item
                for trial in range(seed, seed + trials)
                for item in _trial(images, labels, kind, trial)
            ]
            raw += [{"dataset": path.stem, "source": kind, **item} for item in found]
            rows += _rates(path.stem, kind, found)
            show_table(
                f"{path.stem}, {kind} samples",
                ["what the site knows", "module", "flagged", "of", "rate", "95 %"],
                [
                    [r.knowledge, r.module, r.flagged, r.trials, f"{r.rate:.2f}",
                     f"{r.low:.2f} to {r.high:.2f}"]
                    for r in rows if (r.dataset, r.source) == (path.stem, kind)
                ],
            )  # fmt: skip
    results = {
        "environment": describe_environment(),
        "trials": trials,
        "seed": seed,
        "rates": [asdict(row) for row in rows],
        "comparisons": raw,
    }
    write_atomically(out / "results.json", canonical.dumps(results))
    print(f"written: {out / 'results.json'}")


def _trial(images: np.ndarray, labels: np.ndarray, kind: Kind, seed: int) -> list[dict[str, Any]]:
    """One federation: a site that knows a module a class, each of its own scanner, is offered two.

    The honest one is of a class that the swapped one claims. Each comes from a scanner of its own.
    """
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 7])))
    count = int(labels.max()) + 1
    scanners = make_scanners(count + 2, seed)
    pools = [list(random.permutation(np.flatnonzero(labels == c))) for c in range(count)]
    most = {"real": SAMPLES, "gaussian": TRAINED_ON}[kind]
    make = _makers()[kind]

    def module(label: int, scanner: int) -> Floats:
        share = min(most, int((labels == label).sum()) // 4)
        taken = [pools[label].pop() for _ in range(share)]
        return features(make(images[taken], scanners[scanner], random)[:SAMPLES])

    known = [Known(str(c), f"module-{c}", module(c, c)) for c in range(count)]
    claimed = int(random.integers(count))
    true = int((claimed + 1 + random.integers(count - 1)) % count)
    offered = {"honest": module(claimed, count), "swapped": module(true, count + 1)}
    told = {
        "own class only": [known[true]],
        "class is new here": [item for item in known if item.class_name != str(claimed)],
        "class is known": known,
    }
    if count == 2:
        del told["class is new here"]  # the same as the first
    return [
        {"seed": seed, "knowledge": knowledge, "module": name}
        | compare(str(claimed), points, those).to_dict()
        for knowledge, those in told.items()
        for name, points in offered.items()
    ]


def _makers() -> dict[str, Callable[[np.ndarray, Scanner, np.random.Generator], np.ndarray]]:
    def real(images: np.ndarray, scanner: Scanner, random: np.random.Generator) -> np.ndarray:
        return scanner.render(images, random)

    def gaussian(images: np.ndarray, scanner: Scanner, random: np.random.Generator) -> np.ndarray:
        import torch

        from client_agent.generator.gaussian import fit_gaussian

        taken = torch.from_numpy(scanner.render(images, random).transpose(0, 3, 1, 2).copy())
        found = fit_gaussian(taken)
        noise = torch.from_numpy(random.standard_normal(taken.shape, dtype=np.float32))
        drawn = (found.mean + found.colour(noise, 0.0)).clamp(-1, 1)
        levels = ((drawn + 1) * 127.5).round().to(torch.uint8)
        return levels.numpy().transpose(0, 2, 3, 1)

    return {"real": real, "gaussian": gaussian}


def _rates(dataset: str, kind: str, found: list[dict[str, Any]]) -> list[Rate]:
    rates = []
    for knowledge in KNOWLEDGE:
        for module in ("honest", "swapped"):
            mine = [
                item for item in found if (item["knowledge"], item["module"]) == (knowledge, module)
            ]
            if mine:
                flagged = sum(bool(item["flags"]) for item in mine)
                low, high = _wilson(flagged, len(mine))
                rate = flagged / len(mine)
                rates.append(
                    Rate(dataset, kind, knowledge, module, len(mine), flagged, rate, low, high)
                )
    return rates


def _wilson(hits: int, trials: int) -> tuple[float, float]:
    z, p = 1.96, hits / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


if __name__ == "__main__":
    main()
