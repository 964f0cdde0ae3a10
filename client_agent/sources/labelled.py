"""What every source yields: prepared images, with or without labels, and what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from client_agent.sources.label_map import Code


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
        identifiers: path relative to the source, SOP Instance UID, or `split/index` for .npz;
            where a file has several frames that are images, with `#` and the frame from 1.
        groups: key of the patient, or "" if unknown: a truncated SHA-256, never the id itself.
        skipped: images left out because they could not be read, or by a rule.
        codes: SNOMED CT and RadLex codes of classes, where the site's label map has them.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    identifiers: tuple[str, ...]
    groups: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    codes: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)


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
        aspect: height / width of a pixel.
        uid: SOP Instance UID, "" for pictures.
        frame: which of a file's several images, counted from 1; 0 if the file is one image.
    """

    pixels: np.ndarray
    group: str = ""
    aspect: float = 1.0
    uid: str = ""
    frame: int = 0
