"""A Gaussian per class in PCA space: probabilistic PCA (Tipping and Bishop 1999).

The plainest generator there is. Its one choice, the number of components, is that under which the
held-out images of the class are most likely.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COMPONENTS = (2, 4, 8, 16, 32, 64, 128, 256)
MOST_IMAGES = 1000
"""More images of a class are thinned out evenly: the spectrum's cost grows with their cube."""
_FLOOR = 0.25
"""Least variance in squared grey levels: pixels are rounded."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """x = mean + axes^T (scales * u) + sqrt(rest) * e, with u and e standard normal.

    Attributes:
        mean: float64 [D].
        axes: orthonormal, float64 [d, D].
        scales: standard deviations along the axes in excess of the rest, float64 [d].
        rest: variance in every other direction.
        shape: (H, W, C), D = H W C.
    """

    mean: Float
    axes: Float
    scales: Float
    rest: float
    shape: tuple[int, int, int]

    @property
    def bytes(self) -> int:
        """Size in float32."""
        return 4 * (self.mean.size + self.axes.size + self.scales.size + 1)

    def sample(self, count: int, seed: int, seconds: float) -> NDArray[np.uint8]:
        """Return uint8 [count, H, W, C]; sampling takes no time worth limiting."""
        random = np.random.Generator(np.random.Philox(seed))
        result = np.empty((count, *self.shape), dtype=np.uint8)
        for start in range(0, count, 256):
            n = min(256, count - start)
            flat = self.mean + random.standard_normal((n, len(self.scales))) * self.scales @ (
                self.axes
            )
            flat += np.sqrt(self.rest) * random.standard_normal(flat.shape)
            result[start : start + n] = np.rint(np.clip(flat, 0, 255)).reshape(n, *self.shape)
        return result


def fit_gaussian(
    images: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    *,
    seconds: float = 0.0,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Gaussian:
    """Fit by maximum likelihood; `seconds`, `steps`, `seed` and `threads` are not needed.

    Without validation images half of the class chooses the components for the other half; a class
    of one image is that image and rounding noise.
    """
    shape = (images.shape[1], images.shape[2], images.shape[3])
    thinned = images[np.linspace(0, len(images) - 1, min(len(images), MOST_IMAGES)).astype(int)]
    flat = thinned.reshape(len(thinned), -1).astype(np.float64)
    held_out = validation.reshape(len(validation), flat.shape[1]).astype(np.float64)
    count = 0
    if len(flat) > 2:
        fitted, judged = (flat, held_out) if len(held_out) else (flat[::2], flat[1::2])
        mean, axes, variances = _principal(fitted)
        fitting = [n for n in COMPONENTS if n < len(variances)] or [len(variances)]
        count = max(
            fitting, key=lambda n: _log_likelihood(judged, mean, axes[:n], variances, fitted, n)
        )
    mean, axes, variances = _principal(flat)
    rest = _rest(variances, flat.shape[1], count)
    return Gaussian(
        mean, axes[:count], np.sqrt(np.maximum(variances[:count] - rest, 0)), rest, shape
    )


def _principal(flat: Float) -> tuple[Float, Float, Float]:
    """Return mean [D], axes [r, D] and variances [r] along them, falling; r < n."""
    mean = flat.mean(axis=0)
    if len(flat) < 2:
        return mean, np.zeros((0, flat.shape[1])), np.zeros(0)
    # The smaller of the two Gram matrices has the same spectrum.
    centred = flat - mean
    if len(flat) <= flat.shape[1]:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[::-1], vectors[:, ::-1]
        kept = values > 1e-6 * max(values[0], 1e-12)
        axes = (centred.T @ vectors[:, kept] / np.sqrt(values[kept])).T
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, vectors = values[::-1], vectors[:, ::-1]
        kept = values > 1e-6 * max(values[0], 1e-12)
        axes = vectors[:, kept].T
    return mean, axes, values[kept] / len(flat)


def _rest(variances: Float, dimensions: int, count: int) -> float:
    """Mean variance of the directions that are not kept (equation 8 of the paper)."""
    return max(float(variances[count:].sum()) / max(dimensions - count, 1), _FLOOR)


def _log_likelihood(
    judged: Float, mean: Float, axes: Float, variances: Float, fitted: Float, count: int
) -> float:
    """Mean log density of `judged` up to a constant, with `count` components."""
    rest = _rest(variances, fitted.shape[1], count)
    kept = np.maximum(variances[:count], rest)
    centred = judged - mean
    along = centred @ axes.T
    outside = (centred**2).sum(axis=1) - (along**2).sum(axis=1)
    distance = (along**2 / kept).sum(axis=1) + outside / rest
    volume = np.log(kept).sum() + (fitted.shape[1] - count) * np.log(rest)
    return float(-0.5 * (distance.mean() + volume))
