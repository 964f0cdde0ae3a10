"""Read and prepare many files: what cannot be read is counted and named, and 5 % is the limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation.prepare import prepare
from client_agent.sources.dicom import NotAnImageError, read_dicom
from client_agent.sources.folder import read_picture
from client_agent.sources.labelled import RawImage, Skipped
from client_agent.sources.labels import listed
from client_agent.sources.tree import PICTURE_SUFFIXES, has_dicom_magic

MAX_UNREADABLE = 0.05
"""Beyond this share the source is broken (a wrong mount, a failed copy), not a file or two."""


@dataclass(frozen=True)
class FileItem:
    """A file to read: its path below the root, its public name and its class index."""

    relative: str
    identifier: str
    label: int


@dataclass
class Read:
    """Images read so far; `images`, `labels`, `identifiers` and `groups` run in parallel.

    `damaged` counts towards the limit; `others` (DICOM objects without pixels) does not.
    """

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    damaged: list[Skipped] = field(default_factory=list)
    others: list[Skipped] = field(default_factory=list)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All that was left out."""
        return (*self.damaged, *self.others)

    def add(self, image: np.ndarray, label: int, identifier: str, group: str = "") -> None:
        """Take one prepared image, uint8 [H, W, C]."""
        self.images.append(image)
        self.labels.append(label)
        self.identifiers.append(identifier)
        self.groups.append(group)


def read_file(path: Path) -> RawImage:
    """Read one file: a picture by its suffix, unless its content is DICOM.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES and not has_dicom_magic(path):
        return read_picture(path)
    return read_dicom(path)


def read_files(
    root: Path,
    items: Sequence[FileItem],
    image_size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Read:
    """Read and prepare files in the order given."""
    result = Read()
    for done, item in enumerate(items, start=1):
        try:
            raw = read_file(root / item.relative)
            image = prepare(raw.pixels, image_size=image_size, channels=channels)
        except NotAnImageError as error:
            result.others.append(Skipped(item.identifier, error.message))
        except DataError as error:
            result.damaged.append(Skipped(item.identifier, error.message))
        else:
            result.add(image, item.label, item.identifier, raw.group)
        if on_progress is not None:
            on_progress(done, len(items))
    return result


def stop_if_too_many(result: Read) -> None:
    """Refuse a source of which more than `MAX_UNREADABLE` cannot be read.

    Raises:
        DataError: naming the first few files, with the reason of the first.
    """
    damaged = result.damaged
    total = len(result.images) + len(damaged)
    if damaged and len(damaged) > MAX_UNREADABLE * total:
        raise DataError(
            f"{len(damaged)} of {total} images cannot be read, more than "
            f"{MAX_UNREADABLE:.0%}: {listed([item.identifier for item in damaged])}",
            hint=f"the first: {damaged[0].reason}",
        )
