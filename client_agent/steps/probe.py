"""A few outputs of data set and classifier, small enough for a certificate.

They are compared where two machines cannot have equal bits; the images themselves stay here.
"""

from pathlib import Path

import numpy as np

from client_agent.synthesis.dataset import Dataset
from ff_protocol.unlearning import MAX_PROBES, PROBE_GRID, Probe

MAX_NUMBERS = 20_000
"""Bound on the probabilities in a certificate, whatever the number of classes."""


def take_probe(classifier: Path, dataset: Dataset) -> Probe:
    """Take block means of some images, spread evenly over the data set, and their probabilities.

    Args:
        classifier: `classifier.onnx`.
        dataset: what it was trained on.
    """
    from client_agent.classifier.prediction import ClassifierFile

    wanted = max(1, min(MAX_PROBES, MAX_NUMBERS // len(dataset.classes), len(dataset.images)))
    chosen = np.linspace(0, len(dataset.images) - 1, wanted).astype(np.int64)
    images = dataset.images[chosen]
    probabilities = ClassifierFile.open(classifier).predict(images)
    return Probe(
        blocks=_rows(block_means(images)),
        probabilities=_rows(np.rint(probabilities.astype(np.float64) * 10_000)),
    )


def block_means(images: np.ndarray) -> np.ndarray:
    """Return the mean of each block and channel: uint8 [n, H, W, C] -> [n, grid * grid * C]."""
    rows = np.array_split(np.arange(images.shape[1]), PROBE_GRID)
    columns = np.array_split(np.arange(images.shape[2]), PROBE_GRID)
    means = [
        images[:, row[0] : row[-1] + 1, column[0] : column[-1] + 1].mean(axis=(1, 2))
        for row in rows
        for column in columns
    ]
    return np.rint(np.concatenate(means, axis=1))


def _rows(values: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(value) for value in row) for row in values)
