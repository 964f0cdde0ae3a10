"""What the demonstration may be told, and the federation spec that follows from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.demo.datasets import DIGITS, DemoData
from client_agent.demo.processes import Cores


@dataclass(frozen=True)
class DemoOptions:
    """What the demonstration may be told.

    Attributes:
        out: folder that it fills; must not exist or be empty.
        dataset: `digits`, an `.npz`, or a MedMNIST name.
        sites: number of hospitals; None takes one per class, at most 10.
        seconds_per_site: training time of each hospital, divided over its classes.
        seed: of the split, of training and of the arms.
        samples_per_class: synthetic images per class.
        epochs: passes of every arm's classifier over its images; None takes the preset's rule.
    """

    out: Path
    dataset: str
    sites: int | None
    seconds_per_site: float
    seed: int
    samples_per_class: int
    epochs: int | None

    @classmethod
    def make(
        cls,
        out: Path,
        *,
        dataset: str = DIGITS,
        sites: int | None = None,
        seconds_per_site: float | None = None,
        seed: int = 0,
        samples_per_class: int | None = None,
    ) -> "DemoOptions":
        """Fill in what suits the data set: digits are small and easy, medical images are not."""
        small = dataset == DIGITS
        return cls(
            out=out,
            dataset=dataset,
            sites=sites,
            seconds_per_site=seconds_per_site or (6.0 if small else 240.0),
            seed=seed,
            samples_per_class=samples_per_class or (200 if small else 1000),
            epochs=10 if small else None,
        )


def make_spec(data: DemoData, options: DemoOptions, cores: Cores) -> dict[str, Any]:
    """The spec that the demonstration's sites agree on."""
    return {
        "classes": list(data.classes),
        "image": {"size": data.image_size, "channels": data.channels},
        "preset": "tiny" if data.image_size <= 32 else "small",
        "synthesis": {
            "samples_per_class": options.samples_per_class,
            "batch_size": 50,  # shards of 200: no sample is made that no data set uses
            "threads": cores.threads,
        },
        "classifier": {
            "epochs": options.epochs,
            "seed": options.seed,
            "threads": cores.threads,
        },
    }
