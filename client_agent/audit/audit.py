"""The audit of one class's generator: every figure that its card carries, in one call."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from client_agent.audit.membership import DenoisingLosses
from ff_protocol.card import Figure

MIN_HELD_OUT = 8
"""With fewer held-out images no statement about memorisation can be made."""


@dataclass(frozen=True, eq=False)
class SiteClasses:
    """Images of the site's other classes: what its features learn to tell the class from.

    Attributes:
        images: uint8 [n, H, W, C].
        labels: int64 [n], any numbering.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

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
    """Return how many samples to draw for the audit of a class of `training` images."""
    raise NotImplementedError


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
        DataError: images that do not fit each other, or no samples.
    """
    raise NotImplementedError
