"""The Gaussian of a class with differential privacy: what gaussian.py does, from noisy statistics.

Three statistics of the images, each bounded an image and released once by the Gaussian mechanism:

- the mean of the lowest frequencies of the cosine transform (a basis that no image chose);
- their second moment about that mean ("Analyze Gauss", Dwork et al., STOC 2014, algorithm 1);
- the mean power of all that is left, which spreads over the other directions.

What follows (eigenvectors, choice of components) only processes these releases. The bounds are
constants: nothing about the images chooses them.
"""

import numpy as np
import torch
from torch import Tensor

from client_agent.generator.gaussian import _LEAST_SPREAD, MAX_COMPONENTS, ClassGaussian
from client_agent.generator.privacy import PrivacyPlan

_FREQUENCIES = 6
"""Cosine frequencies along each side: 36 numbers a channel."""

_MEAN_BOUND = 0.8
_SPREAD_BOUND = 0.4
"""Bounds on the root mean square over pixels in [-1, 1] of an image, and of it less the mean."""

_SEED_GAUSSIAN = 2**32 + 1


def fit_private_gaussian(data: Tensor, plan: PrivacyPlan, secret: int) -> ClassGaussian:
    """Fit the Gaussian of a class under differential privacy.

    Args:
        data: uint8 [n, C, H, W].
        plan: how much noise.
        secret: seed of the noise; who knows it can take the noise away.
    """
    count, channels, height, width = data.shape
    size = channels * height * width
    basis = cosine_basis(channels, height, width)
    noise = np.random.Generator(np.random.Philox(np.random.SeedSequence([secret, _SEED_GAUSSIAN])))
    pixels = data.reshape(count, size).numpy().astype(np.float32) / 127.5 - 1
    flat: np.ndarray = pixels.astype(np.float64)
    low = flat @ basis

    bound = _MEAN_BOUND * size**0.5
    total = clip_rows(low, bound).sum(0)
    mean = (total + noise.normal(0, plan.statistics_noise * bound, len(total))) / count

    bound = _SPREAD_BOUND * size**0.5
    spread = clip_rows(low - mean, bound)
    moment = spread.T @ spread
    moment = (moment + symmetric_noise(noise, len(mean), plan.statistics_noise * bound**2)) / count

    power = np.minimum(((flat - basis @ mean) ** 2).sum(1), bound**2).sum()
    power = float(power + noise.normal(0, plan.statistics_noise * bound**2)) / count

    # Eigenvalues below the edge of the noise's own spectrum are noise (Wigner's semicircle).
    edge = 2 * plan.statistics_noise * bound**2 / count * len(mean) ** 0.5
    values, vectors = np.linalg.eigh(moment)
    order = np.argsort(values)[::-1][:MAX_COMPONENTS]
    kept = [i for i in order if values[i] > edge] or [int(order[0])]
    floor = _LEAST_SPREAD**2
    variances = np.maximum(values[kept] - edge / 2, floor)
    rest = max((power - float(variances.sum())) / (size - len(kept)), floor)
    components = basis @ vectors[:, kept]
    return ClassGaussian(
        mean=torch.from_numpy((basis @ mean).reshape(channels, height, width)).float(),
        basis=torch.from_numpy(components).half().float(),
        variances=torch.from_numpy(variances),
        rest=rest,
        sigma_data=max((float(variances.sum()) + rest * (size - len(kept))) / size, floor) ** 0.5,
    )


def cosine_basis(channels: int, height: int, width: int) -> np.ndarray:
    """Return the lowest frequencies of DCT-II as orthonormal columns.

    Returns:
        float64 [C * H * W, C * frequencies^2].
    """
    rows, columns = _cosines(height), _cosines(width)
    plane = np.einsum("hu,wv->hwuv", rows, columns).reshape(height * width, -1)
    return np.kron(np.eye(channels), plane)


def _cosines(side: int) -> np.ndarray:
    kept = min(_FREQUENCIES, side)
    angles = np.pi * (np.arange(side)[:, None] + 0.5) * np.arange(kept)[None] / side
    waves = np.cos(angles)
    result: np.ndarray = waves / np.linalg.norm(waves, axis=0)
    return result


def clip_rows(rows: np.ndarray, bound: float) -> np.ndarray:
    """Shorten every row [n, d] to a Euclidean norm of at most `bound`."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.minimum(1.0, bound / np.maximum(norms, 1e-12))


def symmetric_noise(noise: np.random.Generator, side: int, deviation: float) -> np.ndarray:
    """Draw a symmetric matrix whose upper triangle is independent normal: Analyze Gauss's noise."""
    upper = np.triu(noise.normal(0, deviation, (side, side)))
    return upper + np.triu(upper, 1).T
