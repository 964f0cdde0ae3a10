"""What every source yields: prepared images, with or without labels, and what was left out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read. `reason` names no patient."""

    identifier: str
    reason: str


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of known class.

    Attributes:
        images: uint8 [n, H, W, C].
        labels: int64 [n], index into `classes`.
        classes: every class of the federation, in the spec's order.
        identifiers: path relative to the source, SOP Instance UID, or `split/index` for .npz.
        groups: key of the patient, or "" if unknown: a truncated SHA-256, never the id itself.
        skipped: images left out because they could not be read.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    identifiers: tuple[str, ...]
    groups: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, eq=False)
class UnlabelledImages:
    """Images whose class is not known or not wanted; fields as in `LabelledImages`."""

    images: np.ndarray
    identifiers: tuple[str, ...]
    groups: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, eq=False)
class RawImage:
    """One image as a reader gives it to `prepare`.

    Attributes:
        pixels: [H, W] or [H, W, 1..4]; see `preparation.prepare`.
        group: as in `LabelledImages`.
    """

    pixels: np.ndarray
    group: str = ""
