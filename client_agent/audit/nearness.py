"""How near samples lie to training images: smoke detectors, cheap and blind to some leaks.

"The DCR Delusion" (Yao et al., arXiv 2505.01524) shows that sets which pass such tests can leak to
membership inference. They are reported, and a person should look where they stand out; the gate
rests on replay counting and membership inference.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from client_agent.audit.distances import Metric, nearest
from client_agent.audit.intervals import Interval, bootstrap_intervals, clopper_pearson

_SAMPLES = 400
_REAL = 256
_ROUNDS = 100
_CLOSE = 5.0


@dataclass(frozen=True)
class Nearness:
    """Figures of one metric, each with its interval.

    Attributes:
        ratio: median over samples of the distance to the nearest training image over that to the
            nearest held-out one, with equally many of each; 1 if neither side is favoured.
        nearer: share of samples nearer to the training side then; 0.5 likewise (Platzer and
            Reutterer, arXiv 2104.00635).
    """

    ratio: float
    ratio_interval: Interval
    nearer: float
    nearer_interval: Interval


def nearness(
    metric: Metric, training: Tensor, held_out: Tensor, samples: Tensor, seed: int
) -> Nearness:
    """Compare distances to both sides, at most 256 images of each and 400 samples.

    The interval comes from resampling the real images: with few of them, their luck and not the
    number of samples is what the figures hang on.

    Args:
        metric: how.
        training, held_out, samples: as `metric.embed` gives them.
        seed: of the choice and the bootstrap.
    """
    random = np.random.default_rng([seed, 2])
    size = min(len(training), len(held_out), _REAL)
    some = samples[random.permutation(len(samples))[:_SAMPLES]]
    sides = [
        metric.between(some, side[random.permutation(len(side))[:size]]).double().numpy()
        for side in (training, held_out)
    ]

    def figures(to_training: np.ndarray, to_held_out: np.ndarray) -> tuple[float, float]:
        one, other = to_training.min(1), to_held_out.min(1)
        # An exact copy has distance 0; a 256th of a grey level keeps the ratio finite.
        ratio = float(np.median((one + 1 / 256) / (other + 1 / 256)))
        return ratio, float(((one < other) + 0.5 * (one == other)).mean())

    def resampled(generator: np.random.Generator) -> tuple[float, float]:
        return figures(*(side[:, generator.integers(0, size, size)] for side in sides))

    ratio, nearer = figures(*sides)
    of_ratio, of_nearer = bootstrap_intervals(resampled, _ROUNDS, seed)
    return Nearness(ratio, of_ratio, nearer, of_nearer)


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
