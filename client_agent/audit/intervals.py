"""Confidence intervals at 95 %, of shares, of the area under a curve, and of anything resampled."""

from collections.abc import Callable

import numpy as np

CONFIDENCE = 0.95
Interval = tuple[float, float]


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a binomial share (Clopper and Pearson, Biometrika 26, 1934)."""
    # Quantiles of beta distributions; scipy.stats would take seconds to import.
    from scipy.special import betaincinv

    alpha = (1 - confidence) / 2
    low = float(betaincinv(hits, trials - hits + 1, alpha)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - alpha)) if hits < trials else 1.0
    return low, high


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Return the chance that a random member scores above a random other; ties count half."""
    below, upto = _ranks(members, others)
    return float((below + upto).mean() / (2 * len(others)))


def auc_interval(members: np.ndarray, others: np.ndarray) -> Interval:
    """Return DeLong's interval of `auc` (Biometrics 44, 1988), taken on the logit scale.

    Where the scores part the two sides wholly DeLong's variance is 0, so the interval then comes
    from the smaller side alone: a share of 1 in that many trials.

    Args:
        members: scores, float [n], n >= 2.
        others: scores, float [m], m >= 2.
    """
    value = auc(members, others)
    n, m = len(members), len(others)
    fewer = min(n, m)
    if value in (0.0, 1.0):
        return clopper_pearson(fewer if value else 0, fewer)
    below, upto = _ranks(members, others)
    of_members = (below + upto) / (2 * m)
    below, upto = _ranks(others, members)
    of_others = 1 - (below + upto) / (2 * n)
    error = np.sqrt(of_members.var(ddof=1) / n + of_others.var(ddof=1) / m)
    logit, scale = np.log(value / (1 - value)), error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(logit + np.array([-1.96, 1.96]) * scale)))
    return float(low), float(high)


def bootstrap_intervals(
    statistics: Callable[[np.random.Generator], tuple[float, ...]], rounds: int, seed: int
) -> list[Interval]:
    """Return percentile intervals of statistics that resample with the generator they are given.

    Efron, Annals of Statistics 7 (1979).
    """
    generator = np.random.default_rng(seed)
    values = np.array([statistics(generator) for _ in range(rounds)])
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _ranks(scores: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of `others` lie below each score, and how many do not lie above it."""
    ordered = np.sort(others)
    return np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
