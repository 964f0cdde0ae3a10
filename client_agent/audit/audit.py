"""The audit of one class's generator: every figure that its card carries, in one call."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from client_agent.audit.distances import Nearest, nearest, shrink
from client_agent.audit.distinct import count_distinct, replay_expectation, same_radius
from client_agent.audit.fidelity_figures import fidelity_figures
from client_agent.audit.intervals import CONFIDENCE, Interval, clopper_pearson
from client_agent.audit.membership import DenoisingLosses
from client_agent.audit.membership_figures import membership_figures
from client_agent.audit.nearness import dcr_share, nearer_to_training, nearest_ratio
from client_agent.audit.reference import (
    MIN_HELD_OUT,
    NotAuditableError,
    Reference,
    SiteClasses,
    View,
    check_images,
    make_reference,
)
from client_agent.audit.replay import given_away
from client_agent.errors import DataError
from ff_protocol.card import Figure, bucket

__all__ = [
    "MIN_HELD_OUT", "AuditResult", "SiteClasses", "audit_generator", "audit_samples",
    "samples_wanted",
]  # fmt: skip

MOST_SAMPLES = 2000
FEWEST_SAMPLES = 16
_DEFAULT_SAMPLES = 1000


@dataclass(frozen=True)
class AuditResult:
    """What an audit found; docs/audit.md says what each figure means.

    Attributes:
        fidelity: how good the images are, by name of the figure.
        memorisation: what they give away about the training images, by name.
        notices: remarks for people: duplicates across the split, identical images, subsampling.
        not_auditable: why nothing could be said, or None; then both dictionaries are empty and
            `verdict` fails every required figure.
    """

    fidelity: dict[str, Figure] = field(default_factory=dict)
    memorisation: dict[str, Figure] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    not_auditable: str | None = None


def samples_wanted(training: int) -> int:
    """Return how many samples to draw for the audit of a class of `training` images.

    Twice as many, 1,000 to 2,000: then a generator that replays in one sample of ten shows 16 %
    or more of up to 1,000 images, and the binomial figures have intervals of a few percent.
    """
    return min(MOST_SAMPLES, max(_DEFAULT_SAMPLES, 2 * training))


def audit_generator(
    training: np.ndarray,
    held_out: np.ndarray,
    samples: np.ndarray,
    losses: DenoisingLosses | None,
    *,
    site_classes: SiteClasses | None = None,
    seed: int = 0,
    on_progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> AuditResult:
    """Measure what a generator's samples, and the generator itself, say about its training images.

    Args:
        training: what it was trained on, uint8 [n, H, W, C].
        held_out: images of the same class that it never saw, uint8 [m, H, W, C].
        samples: made by it, uint8 [k, H, W, C]; `samples_wanted(n)` says how many.
        losses: from `denoising_losses`, or None for a generator that has none; then the attack on
            the network is left out.
        site_classes: the site's other classes, or None if it has one class only.
        seed: of the features, the subsamples and the bootstrap.
        on_progress: called with the fraction done, 0 to 1, and what is being measured.

    Raises:
        DataError: images that do not fit each other, or fewer than 16 samples.
    """
    on_progress(0.0, "features")
    try:
        reference = make_reference(training, held_out, site_classes, seed)
    except NotAuditableError as error:
        return AuditResult(not_auditable=error.message)
    on_progress(0.4, "comparing")
    result = audit_samples(reference, samples, losses, seed=seed)
    on_progress(1.0, "done")
    return result


def audit_samples(
    reference: Reference, samples: np.ndarray, losses: DenoisingLosses | None, *, seed: int = 0
) -> AuditResult:
    """Audit samples against real images that are ready; arguments as in `audit_generator`."""
    check_images(samples, "samples", reference.shape)
    if len(samples) < FEWEST_SAMPLES:
        raise DataError(
            f"{len(samples)} samples are too few to audit",
            hint=f"draw {_DEFAULT_SAMPLES}, and no fewer than {FEWEST_SAMPLES}",
        )
    samples = samples[:MOST_SAMPLES]
    small = shrink(samples)
    embedded: dict[str, Tensor] = {}
    for name, view in reference.views.items():
        source = reference.features.of(samples) if name == "features" else small
        embedded[name] = view.metric.embed(source)
    closest = {
        name: nearest(view.metric, embedded[name], view.training)
        for name, view in reference.views.items()
    }
    memorisation = _replayed(reference, embedded, closest)
    memorisation |= _distinct(reference, embedded["tolerant"])
    for name, view in reference.views.items():
        memorisation |= _near(view, embedded[name], closest[name], seed)
    if losses is not None:
        memorisation |= membership_figures(
            losses, reference.training_index, reference.held_out_index
        )
    features = reference.views["features"]
    fidelity = fidelity_figures(
        features.training.numpy(), features.held_out.numpy(), embedded["features"].numpy(), seed
    )
    if reference.features.head is not None:
        own = reference.features.classified_as_own(samples)
        interval = clopper_pearson(int(own.sum()), len(own))
        fidelity["class_consistency"] = _figure(float(own.mean()), interval, len(own))
    return AuditResult(fidelity, memorisation, reference.notices)


def _replayed(
    reference: Reference, embedded: dict[str, Tensor], closest: dict[str, Nearest]
) -> dict[str, Figure]:
    """Count the training images that samples come nearer to than the held-out ones allow.

    As a share of how many a pure replay would have shown in as many samples. `replayed_images` is
    the largest of the metrics', with the error shared between them.
    """
    figures: dict[str, Figure] = {}
    best: tuple[float, float, float] = (0.0, 0.0, 0.0)
    corrected = 1 - (1 - CONFIDENCE) / len(reference.views)
    for name, view in reference.views.items():
        samples = embedded[name]
        ours = closest[name].of_pool
        theirs = nearest(view.metric, samples, view.held_out).of_pool
        n = len(ours)
        shown = replay_expectation(n, len(samples))

        def share(count: float, shown: float = shown) -> float:
            return min(1.0, count / shown)

        alone = given_away(ours, theirs)
        high = share(clopper_pearson(round(alone.count), n)[1] * n)
        figures[f"replayed_images_{name}"] = _figure(
            share(alone.count), (share(alone.least), high), n + len(theirs)
        )
        together = given_away(ours, theirs, confidence=corrected)
        best = max(best, (share(together.least), share(together.count), high))
    low, value, high = best
    total = len(reference.training_index) + len(reference.held_out_index)
    return {"replayed_images": _figure(value, (low, high), total), **figures}


def _distinct(reference: Reference, samples: Tensor) -> dict[str, Figure]:
    """Count different images among twice as many samples as there are training images.

    `distinct_samples` is their share; `distinct_excess` is 0 where that is what a replay of the
    training images yields, and 1 where all are different.
    """
    images = len(reference.training_index)
    drawn = samples[: 2 * images]
    radius = same_radius(reference.views["tolerant"].among_real)
    different = count_distinct(drawn, radius)
    q = len(drawn)
    expected = replay_expectation(images, q)
    interval = clopper_pearson(different, q)

    def excess(share: float) -> float:
        return (share * q - expected) / (q - expected)

    return {
        "distinct_samples": _figure(different / q, interval, q),
        "distinct_excess": _figure(
            excess(different / q), (excess(interval[0]), excess(interval[1])), q
        ),
    }


def _near(view: View, samples: Tensor, closest: Nearest, seed: int) -> dict[str, Figure]:
    """The smoke detectors of one metric."""
    name = view.metric.name
    share, interval = dcr_share(closest.of_queries, view.among_real)
    unseen = nearest(view.metric, view.held_out, view.training).of_queries
    ratio, around_ratio = nearest_ratio(closest.of_queries, unseen, seed)
    nearer, around_nearer = nearer_to_training(
        view.metric, view.training, view.held_out, samples, seed
    )
    real = len(view.training) + len(view.held_out)
    return {
        f"dcr_share_{name}": _figure(share, interval, len(samples)),
        f"nearest_ratio_{name}": _figure(ratio, around_ratio, len(samples)),
        f"nearer_to_training_{name}": _figure(nearer, around_nearer, real),
    }


def _figure(value: float, interval: Interval, count: int) -> Figure:
    low, high = interval
    return Figure(value=value, low=min(low, value), high=max(high, value), samples=bucket(count))
