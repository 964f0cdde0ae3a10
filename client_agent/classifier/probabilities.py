"""Probabilities of classes: what 0 counts as, and what several judgements come to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SMALLEST_PROBABILITY = 1e-7
"""What a probability of 0 counts as where it is multiplied, so that no judgement can veto a class,
and where its logarithm is taken."""


def geometric_mean(probabilities: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Multiply judgements of the same images, take the root, and normalise.

    A class that has 0 in all of them, since none knows it, keeps it.

    Args:
        probabilities: [n, k] a judgement, at least one; a single one is returned as it is.

    Returns:
        float32 [n, k], rows of sum 1.
    """
    if len(probabilities) == 1:
        return probabilities[0]
    logs = [np.log(np.clip(given, SMALLEST_PROBABILITY, 1)) for given in probabilities]
    mean = np.mean(logs, axis=0, dtype=np.float64)
    values = np.exp(mean - mean.max(axis=1, keepdims=True))
    values[np.max(probabilities, axis=0) == 0] = 0
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
