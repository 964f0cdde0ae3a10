"""Fisher's linear discriminant with a shrunken covariance, for few points in many dimensions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Scores points by class; all classes are equally likely beforehand.

    Attributes:
        weights: float64 [d, k].
        offsets: float64 [k].
    """

    weights: Floats
    offsets: Floats

    def scores(self, points: NDArray[np.floating]) -> Floats:
        """Return float64 [n, k] for points [n, renderings, d], averaged over the renderings."""
        scored: Floats = points.mean(axis=1, dtype=np.float64) @ self.weights + self.offsets
        return scored


def fit(groups: list[NDArray[np.floating]]) -> Discriminant:
    """Fit to one group of points a class, however many points each has.

    The pooled covariance is shrunk towards a multiple of the identity by the oracle approximating
    rule (Chen, Wiesel, Eldar and Hero, IEEE Trans. Signal Processing 58, 2010, eq. 23).

    Args:
        groups: one array [n, renderings, d] per class, n >= 2.
    """
    flat = [group.reshape(-1, group.shape[-1]).astype(np.float64) for group in groups]
    means = np.stack([points.mean(axis=0) for points in flat])
    covariance = sum(np.cov(points, rowvar=False, bias=True) for points in flat) / len(flat)
    scale = np.sqrt(np.diag(covariance)) + 1e-6
    covariance = covariance / np.outer(scale, scale)
    covariance = _shrink(covariance, sum(len(group) for group in groups))
    weights = np.linalg.solve(covariance, (means / scale).T) / scale[:, None]
    return Discriminant(weights, -0.5 * np.einsum("kd,dk->k", means, weights))


def _shrink(covariance: Floats, count: int) -> Floats:
    size = len(covariance)
    trace, square = np.trace(covariance), float((covariance**2).sum())
    numerator = (1 - 2 / size) * square + trace**2
    denominator = (count + 1 - 2 / size) * (square - trace**2 / size)
    amount = 1.0 if denominator <= 0 else min(1.0, numerator / denominator)
    # Points that are all alike have no covariance; a little of it keeps the matrix invertible.
    shrunken: Floats = (1 - amount) * covariance + (amount * trace / size + 1e-6) * np.eye(size)
    return shrunken
