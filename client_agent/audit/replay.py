"""How many training images a score gives away, judged by the held-out images alone.

If a generator treats both sides alike, training and held-out images are exchangeable, so any score
of an image (its distance to the nearest sample, its denoising loss) ranks the two sides at random.
How many training images lie ahead of the j-th held-out one then follows the negative hypergeometric
distribution, whatever the score's own distribution is: exceedance statistics (Gastwirth, JASA 63,
1968). What lies ahead beyond that was given away. The bound is exact for hold-outs of any size.
"""

import math
from dataclasses import dataclass

import numpy as np

from client_agent.audit.intervals import CONFIDENCE


@dataclass(frozen=True)
class GivenAway:
    """Training images that are recognisable beyond chance.

    Attributes:
        count: the estimate, 0 to n.
        least: with 95 % confidence at least so many; 0 where nothing is proven.
    """

    count: float
    least: int


def given_away(
    training: np.ndarray, held_out: np.ndarray, *, confidence: float = CONFIDENCE
) -> GivenAway:
    """Count training images that score ahead of the held-out ones beyond chance.

    Args:
        training: score of each training image, float [n]; lower is nearer or more like a member.
        held_out: of each held-out image, float [m], m >= 1. Ties count for the held-out side.
        confidence: of `least`. It is shared between cut-offs behind the 1st, 2nd, 4th, 8th ...
            held-out image, so that a few near-copies on the other side do not hide a leak.
    """
    n, m = len(training), len(held_out)
    ordered = np.sort(held_out)
    # Beyond the middle of the held-out images there is little left to see.
    cut_offs = [2**i for i in range(int(math.log2(max(2, m))))]
    least, counts = 0, []
    for place, j in enumerate(cut_offs):
        ahead = int((training < ordered[j - 1]).sum())
        # Half of the error for the first cut-off, a quarter for the second, and so on.
        error = (1 - confidence) / 2 ** min(place + 1, len(cut_offs) - 1 or 1)
        least = max(least, _least(ahead, n, m, j, error))
        by_chance = j / (m + 1)
        counts.append((ahead - n * by_chance) / (1 - by_chance))
    # With few held-out images the single cut-offs scatter; what is proven is the least.
    return GivenAway(max(0.0, least, float(np.median(counts))), least)


def _least(ahead: int, n: int, m: int, j: int, error: float) -> int:
    """Return the fewest images given away that make `ahead` credible.

    If r images are given away, the other n - r put at least `ahead` - r ahead with a chance that
    grows with r.
    """
    if _chance(ahead, n, m, j) > error:
        return 0
    low, high = 0, ahead  # low is not credible, high is
    while high - low > 1:
        middle = (low + high) // 2
        if _chance(ahead - middle, n - middle, m, j) > error:
            high = middle
        else:
            low = middle
    return high


def _chance(ahead: int, n: int, m: int, j: int) -> float:
    """Return the chance that `ahead` or more of n precede the j-th of m, in random order.

    That is: fewer than j of m are among the first ahead + j - 1.
    """
    from scipy.special import gammaln

    if ahead <= 0:
        return 1.0
    first = min(ahead + j - 1, n + m)
    few = np.arange(max(0, first - n), min(j, m + 1, first + 1))

    def ways(total: float | np.ndarray, taken: float | np.ndarray) -> np.ndarray:
        """Logarithm of the binomial coefficient."""
        return gammaln(total + 1.0) - gammaln(taken + 1.0) - gammaln(total - taken + 1.0)

    chances = np.exp(ways(m, few) + ways(n, first - few) - ways(n + m, first))
    return float(min(1.0, chances.sum()))
