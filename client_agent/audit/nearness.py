"""How near samples lie to training images: smoke detectors, cheap and blind to some leaks.

"The DCR Delusion" (Yao et al., arXiv 2505.01524) shows that sets which pass such tests can leak to
membership inference. They are reported, and a person should look where they stand out; the gate
rests on replay counting and membership inference.
"""

import numpy as np
from torch import Tensor

from client_agent.audit.distances import Metric, nearest
from client_agent.audit.intervals import Interval, bootstrap_intervals, clopper_pearson

_SAMPLES = 400
_REAL = 256
_ROUNDS = 100
_CLOSE = 5.0
_LEAST = 1e-6


def nearest_ratio(samples: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[float, Interval]:
    """Return how near samples lie to training images, as a share of how near unseen images do.

    The ratio of the medians: 0 for a lookup table, 1 for real images. A generator whose images are
    smoother than real ones stays below 1 without knowing any.

    Args:
        samples, held_out: distance of each to its nearest training image, float [k] and [m].
        seed: of the bootstrap.
    """

    def ratio(one: np.ndarray, other: np.ndarray) -> float:
        # Held-out images that all lie on training images were left out before: no division by 0.
        return float(np.median(one) / max(np.median(other), _LEAST))

    def resampled(generator: np.random.Generator) -> tuple[float]:
        draws = (side[generator.integers(0, len(side), len(side))] for side in (samples, held_out))
        return (ratio(*draws),)

    (interval,) = bootstrap_intervals(resampled, _ROUNDS, seed)
    return ratio(samples, held_out), interval


def nearer_to_training(
    metric: Metric, training: Tensor, held_out: Tensor, samples: Tensor, seed: int
) -> tuple[float, Interval]:
    """Return the share of samples nearer to training images than to as many held-out ones.

    0.5 is even (Platzer and Reutterer, arXiv 2104.00635). At most 256 images of each side and 400
    samples are compared. The interval comes from resampling the real images: with few of them,
    their luck and not the number of samples is what the figure hangs on.

    Args:
        metric: how.
        training, held_out, samples: as `metric.embed` gives them.
        seed: of the choice and the bootstrap.
    """
    random = np.random.default_rng([seed, 2])
    size = min(len(training), len(held_out), _REAL)
    some = samples[random.permutation(len(samples))[:_SAMPLES]]
    sides = [
        metric.between(some, side[random.permutation(len(side))[:size]]).numpy()
        for side in (training, held_out)
    ]

    def share(to_training: np.ndarray, to_held_out: np.ndarray) -> float:
        one, other = to_training.min(1), to_held_out.min(1)
        return float(((one < other) + 0.5 * (one == other)).mean())

    def resampled(generator: np.random.Generator) -> tuple[float]:
        return (share(*(side[:, generator.integers(0, size, size)] for side in sides)),)

    (interval,) = bootstrap_intervals(resampled, _ROUNDS, seed)
    return share(*sides), interval


def dcr_share(to_training: np.ndarray, among_real: np.ndarray) -> tuple[float, Interval]:
    """Return the share of samples nearer to a training image than real images are to each other.

    "Than real images are" means: than 95 of 100 real images are to their nearest real neighbour, so
    that a set of real images has a share of about 0.05.

    Args:
        to_training: distance of each sample to the nearest training image, float [k].
        among_real: distance of each real image to the nearest other one, float [n + m].
    """
    close = int((to_training < np.percentile(among_real, _CLOSE)).sum())
    return close / len(to_training), clopper_pearson(close, len(to_training))


def among_real(metric: Metric, real: Tensor, seed: int) -> np.ndarray:
    """Return the distance of some real images, at most 2,000, to their nearest other, float64."""
    some = real[np.random.default_rng([seed, 3]).permutation(len(real))[:2000]]
    return nearest(metric, some, some, same=True).of_queries
