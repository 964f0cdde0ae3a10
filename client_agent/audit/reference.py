"""The real images of an audit, made ready once: checked, freed of duplicates, embedded."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from client_agent.audit.distances import (
    Metric,
    PixelMetric,
    TolerantMetric,
    VectorMetric,
    nearest,
    shrink,
)
from client_agent.audit.features import SiteFeatures, learn_features
from client_agent.audit.nearness import among_real
from client_agent.errors import DataError

MIN_HELD_OUT = 8
"""With fewer held-out images no statement about memorisation can be made."""
MIN_DIFFERENT = 16
"""With fewer different training images a generator can only replay them."""
_MOST_TRAINING = 20_000
_MOST_HELD_OUT = 2048
_MOST_OTHERS = 2000
_SAME = 1.0  # grey levels, tolerant metric: one picture, saved twice


@dataclass(frozen=True, eq=False)
class SiteClasses:
    """Images of the site's other classes: what its features learn to tell the class from.

    Attributes:
        images: uint8 [n, H, W, C].
        labels: int64 [n], any numbering.
    """

    images: np.ndarray
    labels: np.ndarray


class NotAuditableError(DataError):
    """These images allow no statement about memorisation; the message says why."""


@dataclass(frozen=True, eq=False)
class View:
    """The real images in one metric.

    Attributes:
        metric: how they are compared.
        training, held_out: embedded.
        among_real: distance of real images to their nearest other, float64.
    """

    metric: Metric
    training: Tensor
    held_out: Tensor
    among_real: np.ndarray


@dataclass(frozen=True, eq=False)
class Reference:
    """What samples are compared with.

    Attributes:
        shape: H, W, C of every image.
        training_index, held_out_index: the images in use, int64, sorted.
        views: by name of the metric: `pixels`, `tolerant`, `features`.
        features: the site's feature network.
        notices: what a person should know about the images.
    """

    shape: tuple[int, ...]
    training_index: np.ndarray
    held_out_index: np.ndarray
    views: dict[str, View]
    features: SiteFeatures
    notices: tuple[str, ...]


def make_reference(
    training: np.ndarray, held_out: np.ndarray, site_classes: SiteClasses | None, seed: int
) -> Reference:
    """Prepare the real images.

    A held-out image that also lies in the training set (a patient on both sides, a file saved
    twice) says nothing about what is new to the generator, and would pass for a leak of the other
    side: it is left out. So are repeats within the training set: a replay shows each only once.

    Args:
        training, held_out: uint8 [n, H, W, C] and [m, H, W, C].
        site_classes: other classes, or None.
        seed: of subsamples and features.

    Raises:
        DataError: images of another kind or shape.
        NotAuditableError: too few are left.
    """
    check_images(training, "training images")
    check_images(held_out, "held-out images", training.shape[1:])
    random = np.random.default_rng([seed, 0])
    notices: list[str] = []
    ours = _without_repeats(training, random, notices)
    theirs = np.sort(random.permutation(len(held_out))[:_MOST_HELD_OUT])
    if len(ours) < MIN_DIFFERENT:
        raise NotAuditableError(
            f"only {len(ours)} of {len(training)} training images are different: "
            "a generator can only replay them",
            hint=f"a class needs {MIN_DIFFERENT} different images",
        )
    if len(held_out) < MIN_HELD_OUT:
        raise NotAuditableError(
            f"{len(held_out)} held-out images are too few to audit with",
            hint=f"keep at least {MIN_HELD_OUT} images of the class aside",
        )
    pixels, tolerant = PixelMetric(), TolerantMetric()
    small = shrink(training[ours]), shrink(held_out[theirs])
    in_grey = tolerant.embed(small[0]), tolerant.embed(small[1])
    fresh = nearest(tolerant, in_grey[1], in_grey[0]).of_queries > _SAME
    if not fresh.all():
        notices.append(
            f"{int((~fresh).sum())} of {len(fresh)} held-out images also lie in the training set "
            "and were left out of the audit: are patients on both sides of the split?"
        )
    theirs = theirs[fresh]
    if len(theirs) < MIN_HELD_OUT:
        raise NotAuditableError(
            f"only {len(theirs)} of {len(fresh)} held-out images do not also lie in the training "
            "set",
            hint="split by patient, and remove duplicated images",
        )
    keep = torch.from_numpy(fresh)
    features = _learn(training[ours], held_out[theirs], site_classes, seed)
    embedded: list[tuple[Metric, Tensor, Tensor]] = [
        (pixels, pixels.embed(small[0]), pixels.embed(small[1][keep])),
        (tolerant, in_grey[0], in_grey[1][keep]),
        (VectorMetric(), features.of(training[ours]), features.of(held_out[theirs])),
    ]
    views = {
        metric.name: View(metric, one, other, among_real(metric, torch.cat([one, other]), seed))
        for metric, one, other in embedded
    }
    return Reference(training.shape[1:], ours, theirs, views, features, tuple(notices))


def check_images(images: np.ndarray, what: str, shape: tuple[int, ...] | None = None) -> None:
    """Raise DataError unless `images` is uint8 [n, H, W, C], of `shape` where that is given."""
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] in (1, 3)
    if not fits or (shape is not None and images.shape[1:] != shape):
        expected = "n, H, W, 1 or 3" if shape is None else ", ".join(map(str, ("n", *shape)))
        raise DataError(
            f"{what} are {images.dtype} {list(images.shape)}, expected uint8 [{expected}]"
        )


def _without_repeats(
    images: np.ndarray, random: np.random.Generator, notices: list[str]
) -> np.ndarray:
    """Return the first of each group of equal images, as sorted indices; at most 20,000."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    first = {row.tobytes(): index for index, row in reversed(list(enumerate(rows)))}
    kept = np.sort(np.fromiter(first.values(), np.int64, len(first)))
    if len(kept) < len(images):
        notices.append(f"{len(images) - len(kept)} training images repeat another one exactly")
    if len(kept) > _MOST_TRAINING:
        notices.append(f"{_MOST_TRAINING} of {len(kept)} training images were looked for")
        kept = np.sort(random.permutation(kept)[:_MOST_TRAINING])
    return kept


def _learn(
    training: np.ndarray, held_out: np.ndarray, site_classes: SiteClasses | None, seed: int
) -> SiteFeatures:
    others = labels = None
    if site_classes is not None and len(site_classes.images):
        check_images(site_classes.images, "images of other classes", training.shape[1:])
        order = np.random.default_rng([seed, 4]).permutation(len(site_classes.images))
        some = np.sort(order[:_MOST_OTHERS])
        others, labels = site_classes.images[some], site_classes.labels[some]
    return learn_features(np.concatenate([training, held_out]), others, labels, seed=seed)
