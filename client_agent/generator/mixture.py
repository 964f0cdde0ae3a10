"""Where sampling starts: what noisy images of a class look like along its widest directions.

The sampler begins at a few times sigma_data, where short training has something to say. There the
noise is still smaller than how a class varies along its first dozen principal components (size and
place of what is shown, overall brightness), so noisy images are no draws of a Gaussian: started
from one, samples miss the combinations that occur. A mixture of Gaussians along those directions
gives them back, for no training and no network evaluation (docs/recipe.md).

Which part an image begins from is decided by one of the numbers of its own noise, so that it stays
a function of its noise. Comparing a number with constants has no rounding: every machine takes the
same part.

No part rests on fewer than 32 images, as no component of the basis does (gaussian.py).
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_PARTS = 16
IMAGES_PER_PART = 32
# Where a component's variance is below this share of the noise's, its shape is lost in the noise.
_LEAST_SHARE = 0.1
# Added to the parts' variances: this share of the noise's, which hides what is narrower. A start
# that is a little too wide leaves samples no farther from real images (docs/recipe.md).
_FLOOR_SHARE = 0.05
# Evenly spaced images stand for a class of more.
_MAX_IMAGES = 2**14
_MAX_ITERATIONS = 50

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mixture:
    """K Gaussians, parallel to the principal components, of an image minus mu.

    Attributes:
        pixel: index into C * H * W of the number of the noise that decides the part.
        bounds: that number's quantiles between the parts, rising, float32 [K - 1].
        means: along the components, float64 [K, k].
        variances: likewise.
    """

    pixel: int
    bounds: Tensor
    means: Tensor
    variances: Tensor

    def part(self, noise: Tensor) -> Tensor:
        """Return each image's part, int64 [n], from its unit noise, float32 [n, C * H * W]."""
        return (noise[:, self.pixel, None] > self.bounds.to(noise.device)).sum(1)

    def scales(self, sigma: float) -> Tensor:
        """Return the standard deviations of noisy images along the components, float64 [K, k]."""
        return (self.variances + sigma**2).sqrt()


def fit_mixture(coefficients: Tensor, variances: Tensor, pixel: int, sigma: float) -> Mixture:
    """Fit the mixture by expectation-maximisation.

    Args:
        coefficients: images minus mu along the components, float [n, k].
        variances: of the class along the components, falling, float64 [k].
        pixel: see `Mixture`; best one that the components hardly touch, so that noise along them
            does not depend on the part.
        sigma: noise level at which sampling starts, absolute.

    Returns:
        One part, which is the Gaussian of the class, where there are too few images for two or
        nothing is wider than the noise.
    """
    every = math.ceil(len(coefficients) / _MAX_IMAGES)
    wide = int((variances > _LEAST_SHARE * sigma**2).sum())
    values = coefficients[::every, :wide].double().numpy()
    if not wide or len(values) < 2 * IMAGES_PER_PART:
        return one_part(variances)
    weights, centres, widths = _fit(values, _FLOOR_SHARE * sigma**2)
    means = torch.zeros(len(weights), len(variances)).double()
    spread = variances.double().repeat(len(weights), 1)
    means[:, :wide] = torch.from_numpy(centres)
    spread[:, :wide] = torch.from_numpy(widths)
    shares = torch.from_numpy(np.cumsum(weights)[:-1])
    return Mixture(pixel, torch.special.ndtri(shares).float(), means, spread)


def one_part(variances: Tensor) -> Mixture:
    """Return the Gaussian itself: one part around mu with its variances, float64 [k]."""
    return Mixture(0, torch.zeros(0), torch.zeros(1, len(variances)).double(), variances[None])


def _fit(values: Float64, floor: float) -> tuple[Float64, Float64, Float64]:
    """Return weights [K], means and variances [K, d] of parts with enough images each."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    count = min(MAX_PARTS, len(values) // IMAGES_PER_PART)
    # Evenly spaced images to begin with: k-means adds up in an order that threads decide.
    means = values[np.linspace(0, len(values) - 1, count).round().astype(int)]
    while True:
        mixture = GaussianMixture(
            len(means),
            covariance_type="diag",
            reg_covar=floor,
            max_iter=_MAX_ITERATIONS,
            init_params="random_from_data",
            means_init=means,
            random_state=0,
        )
        with warnings.catch_warnings():
            # An optimum that is not quite reached is as good a start.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(values)
        if len(means) == 1 or mixture.weights_.min() * len(values) >= IMAGES_PER_PART:
            return mixture.weights_, mixture.means_, mixture.covariances_
        means = np.delete(mixture.means_, mixture.weights_.argmin(), axis=0)
