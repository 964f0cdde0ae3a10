"""Temperature scaling (Guo et al., arXiv 1706.04599): one number between scores and softmax."""

import math

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.25, 8.0
_HALVINGS = 60


def fit_temperature(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the temperature with the least cross-entropy, within bounds, to three digits.

    The cross-entropy is convex in b = 1 / T; its derivative, the mean difference between the
    expected score and that of the true class, is brought to 0 by halving an interval.

    Args:
        scores: float64 [n, k].
        labels: int64 [n].
    """
    true = scores[np.arange(len(labels)), labels]

    def slope(b: float) -> float:
        weights = np.exp(b * (scores - scores.max(axis=1, keepdims=True)))
        expected = (weights * scores).sum(axis=1) / weights.sum(axis=1)
        return math.fsum(expected - true)

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(f"{1 / low:.3g}")
