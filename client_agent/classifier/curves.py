"""What a report draws of a classifier: ROC curves, calibration, and 95 % intervals. NumPy only."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

Z = 1.959964
"""Quantile of the normal distribution for 95 % on two sides."""

_MOST_POINTS = 200
_HALVINGS = 60


@dataclass(frozen=True)
class Roc:
    """The one-vs-rest curve of one class.

    Attributes:
        class_name: its name.
        false_positive, true_positive: rates along the curve, both rising from 0 to 1.
        area: under the curve.
        interval: 95 % interval of the area.
        positives, negatives: images of the class, and others.
    """

    class_name: str
    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]
    area: float
    interval: Interval
    positives: int
    negatives: int


@dataclass(frozen=True)
class Bin:
    """Images whose most probable class got a probability in [low, high).

    Attributes:
        low, high: bounds of the bin.
        images: how many there are, at least one.
        confidence: mean probability of the label.
        accuracy: share of right labels.
        interval: 95 % interval of the accuracy.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be taken at their word.

    Attributes:
        bins: those with images, by rising confidence.
        error: expected calibration error (arXiv 1706.04599): mean distance of accuracy and
            confidence over the images.
    """

    bins: tuple[Bin, ...]
    error: float


def wilson(successes: int, count: int) -> Interval:
    """95 % interval of a share (Wilson 1927): within [0, 1], and sound for shares of 0 and 1.

    Args:
        successes: 0 to `count`.
        count: at least 1.
    """
    share, square = successes / count, Z * Z / count
    centre = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def area_interval(area: float, positives: int, negatives: int) -> Interval:
    """95 % interval of an area under the curve: method 5 of Newcombe (Stat Med 2006, 25:559).

    The limits are the areas whose own normal interval just reaches the one found; unlike intervals
    around the estimate they are sound at areas near 1.

    Args:
        area: 0 to 1.
        positives, negatives: at least 1 each.
    """
    if area < 0.5:
        low, high = area_interval(1 - area, negatives, positives)
        return 1 - high, 1 - low
    mean, pairs = (positives + negatives) / 2, max(1, (positives - 1) * (negatives - 1))

    def half_width(theta: float) -> float:
        shape = 2 * mean - 1 - (3 * mean - 3) / ((2 - theta) * (1 + theta))
        return Z * math.sqrt(max(0.0, theta * (1 - theta) * shape) / pairs)

    low_end, high_end = 0.0, area
    for _ in range(_HALVINGS):
        middle = (low_end + high_end) / 2
        if middle + half_width(middle) < area:
            low_end = middle
        else:
            high_end = middle
    lower = high_end
    low_end, high_end = area, 1.0
    for _ in range(_HALVINGS):
        middle = (low_end + high_end) / 2
        if middle - half_width(middle) > area:
            high_end = middle
        else:
            low_end = middle
    return lower, low_end


def roc(class_name: str, positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Roc | None:
    """Return a class's curve, None where all images are of the class or none is.

    Args:
        class_name: its name.
        positive: bool [n]: the image is of the class.
        scores: float [n], higher for images that look like the class.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    order = np.argsort(-scores, kind="stable")
    # A threshold between equal scores does not exist: keep the last point of each run.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.concatenate([[0.0], np.cumsum(positive[order])[ends] / positives])
    false = np.concatenate([[0.0], np.cumsum(~positive[order])[ends] / negatives])
    area = float(np.trapezoid(true, false))
    kept = _thinned(false, true)
    return Roc(
        class_name=class_name,
        false_positive=tuple(round(float(value), 5) for value in false[kept]),
        true_positive=tuple(round(float(value), 5) for value in true[kept]),
        area=area,
        interval=area_interval(area, positives, negatives),
        positives=positives,
        negatives=negatives,
    )


def calibration(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10
) -> Calibration:
    """Compare confidence with accuracy in bins of equal width.

    Args:
        confidence: float [n], probability of each image's label.
        right: bool [n]: the label is right.
        bins: how many.
    """
    numbers = np.minimum((confidence * bins).astype(int), bins - 1)
    found: list[Bin] = []
    for number in range(bins):
        inside = numbers == number
        count = int(inside.sum())
        if count:
            successes = int(right[inside].sum())
            found.append(
                Bin(
                    low=number / bins,
                    high=(number + 1) / bins,
                    images=count,
                    confidence=float(confidence[inside].mean()),
                    accuracy=successes / count,
                    interval=wilson(successes, count),
                )
            )
    total = sum(item.images for item in found)
    error = sum(item.images * abs(item.accuracy - item.confidence) for item in found)
    return Calibration(tuple(found), error / total if total else 0.0)


def _thinned(false: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.int64]:
    """Choose at most `_MOST_POINTS` of a curve's points, evenly along its length, ends included."""
    steps = np.abs(np.diff(false)) + np.abs(np.diff(true))
    along = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, along[-1], _MOST_POINTS)
    return np.unique(np.append(np.searchsorted(along, wanted), [0, len(along) - 1])).clip(
        0, len(along) - 1
    )
