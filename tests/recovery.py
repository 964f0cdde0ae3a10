"""A data set on which learning takes seconds: which quarter of the image is bright."""

from pathlib import Path

import numpy as np

from benchmarks.recovery.budget import BudgetRule
from benchmarks.recovery.data import Labelled, RecoverData
from benchmarks.recovery.splits import divide
from benchmarks.recovery.task import Task
from client_agent.classifier.settings import ClassifierSettings

CLASSES = ("c0", "c1", "c2", "c3")
QUICK = ClassifierSettings(epochs=8, batch_size=16, threads=1, widths=(8, 8, 16, 16))
FEW_SAMPLES = BudgetRule(samples_per_class=40, fewest_samples=40)
RATE = 1e4
"""Images/s that tests pretend to have measured: the recipe's own number of passes always fits."""


def quarters(count: int, seed: int) -> Labelled:
    labels = np.arange(count) % 4
    images = np.random.default_rng(seed).integers(0, 80, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 170
    return Labelled(images.astype(np.uint8), labels.astype(np.int64))


def quarter_data(train: int = 96) -> RecoverData:
    return RecoverData(
        "quarters", "0" * 64, CLASSES, quarters(train, 1), quarters(40, 2), quarters(80, 3), ()
    )


def quarter_task(folder: Path, split: str = "silos", seconds: float = 8.0, **changes) -> Task:
    data = quarter_data()
    members = divide(data.train.labels, split, seed=0)
    values = {
        "classes": CLASSES,
        "sites": tuple(data.train.take(own) for own in members),
        "validation": data.validation,
        "settings": QUICK,
        "seconds": seconds,
        "seed": 0,
        "training_rate": RATE,
        "work": folder,
        "rule": FEW_SAMPLES,
    }
    return Task(**{**values, **changes})
