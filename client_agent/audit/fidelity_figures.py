"""Figures of `fidelity.py` with their intervals."""

import numpy as np

from client_agent.audit.fidelity import frechet_distance, kernel_distance, neighbour_counts
from client_agent.audit.intervals import bootstrap_intervals, clopper_pearson
from ff_protocol.card import Figure, bucket

_ROUNDS = 40
_MOST = 1000


def fidelity_figures(
    training: np.ndarray, held_out: np.ndarray, samples: np.ndarray, seed: int
) -> dict[str, Figure]:
    """Compare samples with the real images of the class, on features, at most 1,000 of each.

    Neighbour counts and the Frechet distance need many real images and take both sides; the kernel
    distance is unbiased with few and takes the held-out side alone, as `kid_real` does for the
    training images, which is what a perfect generator would reach.

    Args:
        training, held_out, samples: features, float32 [n, d], [m, d], [k, d].
        seed: of subsamples and bootstrap.
    """
    random = np.random.default_rng([seed, 5])
    real = np.concatenate([training, held_out])
    real, ours, theirs, fake = (
        rows[random.permutation(len(rows))[:_MOST]].astype(np.float64)
        for rows in (real, training, held_out, samples)
    )
    counts = neighbour_counts(real, fake)

    def share(outcomes: np.ndarray) -> Figure:
        low, high = clopper_pearson(int(outcomes.sum()), len(outcomes))
        return Figure(
            value=float(outcomes.mean()), low=low, high=high, samples=bucket(len(outcomes))
        )

    def kid(rows: np.ndarray) -> Figure:
        value, error = kernel_distance(rows, theirs)
        return _around(value, 1.96 * error, len(rows) + len(theirs))

    density = counts.density
    return {
        "fid": _frechet(real, fake, seed),
        "kid": kid(fake),
        "kid_real": kid(ours),
        "precision": share(counts.precision),
        "recall": share(counts.recall),
        "density": _around(
            float(density.mean()), 1.96 * density.std(ddof=1) / len(density) ** 0.5, len(density)
        ),
        "coverage": share(counts.coverage),
    }


def _frechet(real: np.ndarray, fake: np.ndarray, seed: int) -> Figure:
    def resampled(generator: np.random.Generator) -> tuple[float]:
        draws = (rows[generator.integers(0, len(rows), len(rows))] for rows in (real, fake))
        return (frechet_distance(*draws),)

    ((low, high),) = bootstrap_intervals(resampled, _ROUNDS, seed)
    # Resampling itself adds distance: its width is kept, around the value.
    return _around(frechet_distance(real, fake), (high - low) / 2, len(real) + len(fake))


def _around(value: float, half: float, count: int) -> Figure:
    return Figure(value=value, low=value - half, high=value + half, samples=bucket(count))
