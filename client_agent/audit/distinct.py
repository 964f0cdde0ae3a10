"""How many different images a generator makes, against what a replay would make.

Drawing q times from N images with replacement yields N (1 - (1 - 1/N)^q) different ones: a lookup
table repeats itself like people sharing birthdays (Arora and Zhang, arXiv 1706.08224).
"""

import numpy as np
from torch import Tensor

from client_agent.audit.distances import TolerantMetric

_CLOSE = 5.0
# Smooth samples lie nearer to each other than real images do, copies much nearer still.
_SAME = 0.5


def replay_expectation(images: int, draws: int) -> float:
    """Return how many different images `draws` from `images` with replacement yield on average."""
    return images * -np.expm1(draws * np.log1p(-1 / images)) if images > 1 else 1.0


def count_distinct(samples: Tensor, radius: float) -> int:
    """Count the samples that no earlier sample lies within `radius` of.

    Args:
        samples: as `TolerantMetric.embed` gives them, [q, 1, h, w].
        radius: in grey levels.
    """
    metric = TolerantMetric()
    different = 0
    step = 256
    for start in range(0, len(samples), step):
        block = samples[start : start + step]
        close = (metric.between(block, samples[: start + len(block)]) <= radius).numpy()
        earlier = np.arange(close.shape[1])[None] < np.arange(start, start + len(block))[:, None]
        different += int((~(close & earlier).any(1)).sum())
    return different


def same_radius(real: np.ndarray) -> float:
    """Return the distance below which two images count as one.

    Args:
        real: distance of each real image to its nearest other, float [n].
    """
    return _SAME * float(np.percentile(real, _CLOSE))
