"""`results.json`: one entry for each arm, seed, split and budget, written after each.

    schema_version  1
    dataset         name, sha256, shape, class names, images a class in each part
    runs            see `Run`
    failed          arms that could not work with the images, and why; a rerun tries them again
    summary         mean and spread over seeds, by arm, split and budget
    comparisons     `compare`

A folder belongs to one data set; runs on it accumulate, and what is there is not run again.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from client_agent.errors import UsageError
from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.files import write_atomically

SCHEMA_VERSION = 1
FILE_NAME = "results.json"
FIGURES = ("accuracy", "auroc", "f1", "seconds", "cpu_seconds")


@dataclass(frozen=True)
class Key:
    """What tells runs apart.

    Attributes:
        arm: one of benchmarks.arms.TITLES.
        split: one of benchmarks.recovery.splits.SPLITS.
        budget: seconds that were allowed.
        part: `test`, or `validation` while something is being tuned.
    """

    arm: str
    split: str
    budget: float
    part: str


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        arm, split, budget, part: as in `Key`.
        seed: of the division, of training and of synthesis.
        accuracy, auroc, f1: macro averages over the classes but for accuracy; the mean over the
            sites where every site has its own classifier; auroc is None for one tested class.
        bytes_per_site: payload that one site sends and receives.
        rounds: communication rounds.
        seconds: wall time of learning, sites in turn; measuring on the test images is not in it.
        cpu_seconds: processor time of the same, all threads.
        sites: how many.
        threads: of every computation.
        command, environment: how and where, with load and commit.
        details: choices made on the validation images, and their reasons.
    """

    arm: str
    split: str
    budget: float
    part: str
    seed: int
    accuracy: float
    auroc: float | None
    f1: float
    bytes_per_site: int
    rounds: int
    seconds: float
    cpu_seconds: float
    sites: int
    threads: int
    command: str
    environment: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Everything but the seed."""
        return Key(self.arm, self.split, self.budget, self.part)


@dataclass(frozen=True)
class Summary:
    """Several seeds of one key: mean and sample standard deviation (0 for one seed) of each figure.

    `mean["auroc"]` is None where a run has none.
    """

    key: Key
    seeds: tuple[int, ...]
    sites: int
    bytes_per_site: float
    rounds: float
    mean: dict[str, float | None]
    spread: dict[str, float | None]


class ResultsFile:
    """The runs in one output folder."""

    def __init__(self, folder: Path, dataset: dict[str, Any]) -> None:
        """Open `folder`, which may be empty or missing.

        Raises:
            UsageError: it holds results of another data set.
            MalformedError: its file is not ours.
        """
        self._path = folder / FILE_NAME
        self._dataset = dataset
        self.runs: list[Run] = []
        self.failed: list[dict[str, Any]] = []
        if not self._path.is_file():
            return
        try:
            stored = json.loads(self._path.read_text())
            if stored["schema_version"] != SCHEMA_VERSION:
                raise ValueError("another version")
            found = stored["dataset"]
            self.runs = [Run(**run) for run in stored["runs"]]
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError(
                f"{self._path} is not a results file of this program",
                hint="choose another --out",
            ) from error
        if found != dataset:
            raise UsageError(
                f"{folder} holds results on {found.get('name')!r}, other images than these",
                hint="choose another --out",
            )

    def has(self, key: Key, seed: int) -> bool:
        """Say whether this run is there."""
        return any(run.key == key and run.seed == seed for run in self.runs)

    def add(self, run: Run) -> None:
        """Add a run and write the file."""
        self.runs.append(run)
        write_atomically(self._path, canonical.dumps(self.to_dict()))

    def fail(self, key: Key, seed: int, reason: str) -> None:
        """Note that an arm could not be run, and write the file."""
        self.failed.append({**vars(key), "seed": seed, "reason": reason})
        write_atomically(self._path, canonical.dumps(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Return the file's content as JSON values."""
        from benchmarks.recovery.compare import compare

        summaries = summarise(self.runs)
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self._dataset,
            "runs": [asdict(run) for run in self.runs],
            "failed": self.failed,
            "summary": [_plain(summary) for summary in summaries],
            "comparisons": compare(summaries),
        }


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """Return means and spreads over seeds, in the order in which keys first occur."""
    summaries = []
    for key in dict.fromkeys(run.key for run in runs):
        group = [run for run in runs if run.key == key]
        columns = {name: [getattr(run, name) for run in group] for name in FIGURES}
        summaries.append(
            Summary(
                key=key,
                seeds=tuple(run.seed for run in group),
                sites=group[0].sites,
                bytes_per_site=float(np.mean([run.bytes_per_site for run in group])),
                rounds=float(np.mean([run.rounds for run in group])),
                mean={name: _mean(values) for name, values in columns.items()},
                spread={name: _spread(values) for name, values in columns.items()},
            )
        )
    return summaries


def _plain(summary: Summary) -> dict[str, Any]:
    values = asdict(summary)
    return {**values.pop("key"), **values, "seeds": list(summary.seeds)}


def _mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if len(numbers) == len(values) else None


def _spread(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    if len(numbers) != len(values):
        return None
    return float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
