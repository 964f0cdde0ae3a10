"""How common the classes are where a classifier is used: its probabilities for other shares.

A classifier that was trained on as many images of every class gives probabilities for a place in
which every class is as common. Bayes' rule turns them into those for other shares, with nothing
trained anew: multiply by the shares and normalise (Saerens, Latinne and Decaestecker, Neural
Computation 14(1), 2002, eq. 2.4).
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from client_agent.classifier.probabilities import SMALLEST_PROBABILITY
from client_agent.errors import UsageError
from ff_protocol.card import bucket_floor

Shares = NDArray[np.float64]
"""float64 [k], not negative, sum 1, in the order of a classifier's classes."""

EVEN = "even"
TRAINING = "training"
"""Rules by name, instead of shares: all the same, and as among the modules' training images."""

_FORM = f"say {EVEN}, {TRAINING}, or NAME=SHARE,NAME=SHARE,... for each of: "
# The lowest bucket, <16: a generator has 16 images at least, some of which are held out.
_LEAST_FLOOR = 8


def reweight(probabilities: NDArray[np.float32], shares: Shares) -> NDArray[np.float32]:
    """Return the probabilities where classes have these shares.

    Args:
        probabilities: where all classes are as common, [n, k]. 0 counts as 1e-7, so that an image
            is left with some class when its own has a share of 0.
        shares: of the classes; a class with 0 is never predicted.

    Returns:
        float32 [n, k].
    """
    values = np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY) * shares
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def shares_in_training(held: Iterable[tuple[str, str]], classes: Sequence[str]) -> Shares:
    """Return how common the classes are among the images that modules were trained on.

    Cards name a bucket, such as 512-1023, never a count: its geometric middle stands for it, right
    within a factor of the square root of 2.

    Args:
        held: of each module, its class and its card's `training.images`.
        classes: of the classifier; one without a module has a share of 0.
    """
    counts = dict.fromkeys(classes, 0.0)
    for name, images in held:
        counts[name] += math.sqrt(2) * max(bucket_floor(images), _LEAST_FLOOR)
    values = np.array(list(counts.values()))
    return values / values.sum()


def parse_shares(text: str, classes: Sequence[str]) -> Shares:
    """Read `NAME=SHARE,NAME=SHARE,...`, which names every class once; the sum is brought to 1.

    Raises:
        UsageError: it does not.
    """
    form = _FORM + ", ".join(classes)
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.rpartition("="))
        if not equals or name in given:
            raise UsageError(f"prevalence {part.strip()!r} cannot be read", hint=form)
        if name not in classes:
            raise UsageError(f"the classifier knows no class {name!r}", hint=form)
        given[name] = _share(number, form)
    missing = [name for name in classes if name not in given]
    if missing:
        raise UsageError(f"the prevalence of {', '.join(missing)} is missing", hint=form)
    values = np.array([given[name] for name in classes])
    if not values.sum():
        raise UsageError("a prevalence of 0 for every class leaves no answer", hint=form)
    return values / values.sum()


def _share(text: str, form: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Finite and small enough that no sum of them overflows.
    if not 0 <= value <= 1e12:
        raise UsageError(f"prevalence {text!r} is no number from 0 to 1e12", hint=form)
    return value
