"""Eigenvalues of a class's covariance and what follows from them alone; no torch is needed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of a `ClassGaussian` (client_agent/generator/gaussian.py).

    Attributes:
        along: variances along the k principal components, float64 [k].
        rest: along each other direction.
        size: number of all directions, C * H * W.
    """

    along: NDArray[np.float64]
    rest: float
    size: int

    def gains(self, sigma: float) -> tuple[NDArray[np.float64], float]:
        """Return the linear denoiser's eigenvalues at one level: float64 [k], and the rest's."""
        return self.along / (self.along + sigma**2), self.rest / (self.rest + sigma**2)

    def error(self, sigma: float) -> float:
        """Return the root mean square error that the linear denoiser leaves."""
        along, rest = self.gains(sigma)
        total = along.sum() + (self.size - len(along)) * rest
        return float(sigma * np.sqrt(total / self.size))
