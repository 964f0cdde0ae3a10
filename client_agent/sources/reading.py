"""Read and prepare many files: what cannot be read is counted and named, and 5 % is the limit."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation.dicom_rules import Rendering
from client_agent.preparation.prepare import prepare
from client_agent.sources.dicom import read_dicom
from client_agent.sources.dicom_objects import NotAllowedError, NotAnImageError
from client_agent.sources.folder import read_picture
from client_agent.sources.headers import identify
from client_agent.sources.labelled import RawImage, Skipped
from client_agent.sources.listing import listed
from client_agent.sources.root_guard import RootGuard
from client_agent.sources.tree import PICTURE_SUFFIXES, read_start

MAX_UNREADABLE = 0.05
"""Beyond this share the source is broken (a wrong mount, a failed copy), not a file or two."""

_SHOWN = 5


@dataclass(frozen=True)
class FileItem:
    """A file to read: its path below the root, its public name, class index and patient's key.

    The key is "" where the file itself shall say. Sources without paths put theirs in `relative`.
    """

    relative: str
    identifier: str
    label: int
    group: str = ""


@dataclass
class Read:
    """Images read so far; `images`, `labels`, `identifiers`, `groups` and `uids` run in parallel.

    `damaged` counts towards the limit; `others` (objects without pixels, or with text burned into
    them) does not.
    """

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    uids: list[str] = field(default_factory=list)
    damaged: list[Skipped] = field(default_factory=list)
    others: list[Skipped] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All that was left out."""
        return (*self.damaged, *self.others)

    def add(
        self, image: np.ndarray, label: int, identifier: str, group: str = "", uid: str = ""
    ) -> None:
        """Take one prepared image, uint8 [H, W, C]."""
        self.images.append(image)
        self.labels.append(label)
        self.identifiers.append(identifier)
        self.groups.append(group)
        self.uids.append(uid)


def read_file(path: Path, rendering: Rendering | None = None) -> tuple[RawImage, ...]:
    """Read one file: a picture or DICOM, by its content, and by its suffix if that says nothing.

    Several images come of a DICOM file of several frames, if `rendering` asks for all.

    Raises:
        DataError: it cannot be understood.
        OSError: it cannot be read.
    """
    kind = identify(read_start(path) or b"")
    if kind == "part-10-missing":
        raise DataError("DICOM without the header of a file (PS3.10); dcmconv writes one")
    picture = path.suffix.lower() in PICTURE_SUFFIXES if kind is None else kind != "dicom"
    return (read_picture(path),) if picture else read_dicom(path, rendering)


def read_files(
    root: Path,
    items: Sequence[FileItem],
    image_size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
    rendering: Rendering | None = None,
) -> Read:
    """Read and prepare files in the order given.

    Raises:
        ResourceError: the folder went away midway.
    """
    guard = RootGuard(root)

    def load(item: FileItem) -> tuple[RawImage, ...]:
        try:
            return read_file(root / item.relative, rendering)
        except OSError as error:
            guard.check(error)
            raise DataError(_reason(error)) from error

    return read_items(items, load, image_size, channels, on_progress)


def read_items(
    items: Sequence[FileItem],
    load: Callable[[FileItem], Sequence[RawImage]],
    image_size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Read:
    """Read and prepare whatever `load` makes of each item, in the order given."""
    result = Read()
    for done, item in enumerate(items, start=1):
        try:
            ready = [
                (raw, prepare(raw.pixels, image_size=image_size, channels=channels,
                              aspect=raw.aspect))
                for raw in load(item)
            ]  # fmt: skip
        except (NotAnImageError, NotAllowedError) as error:
            result.others.append(Skipped(item.identifier, error.message))
            if error.hint:
                result.hints[error.message] = error.hint
        except DataError as error:
            result.damaged.append(Skipped(item.identifier, error.message))
        else:
            for raw, image in ready:
                name = f"{item.identifier}#{raw.frame}" if raw.frame else item.identifier
                result.add(image, item.label, name, item.group or raw.group, raw.uid)
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
            f"{MAX_UNREADABLE:.0%}: {listed([item.identifier for item in damaged], _SHOWN)}",
            hint=f"the first: {damaged[0].reason}",
        )


def stop_if_contradictory(result: Read, classes: Sequence[str]) -> None:
    """Refuse a source that gives one image two labels.

    Raises:
        DataError: listing the first ten such images, by SOP Instance UID, with both names.
    """
    first: dict[str, int] = {}
    wrong: dict[str, str] = {}
    for number, uid in enumerate(result.uids):
        if not uid:
            continue
        before = first.setdefault(uid, number)
        labels = result.labels[before], result.labels[number]
        if labels[0] != labels[1]:
            wrong[uid] = (
                f"{result.identifiers[before]} ({classes[labels[0]]}) and "
                f"{result.identifiers[number]} ({classes[labels[1]]})"
            )
    if wrong:
        raise DataError(
            f"{len(wrong)} images have two labels: {listed(list(wrong.values()))}",
            hint="they are the same by SOP Instance UID: keep each in one class",
        )


def _reason(error: OSError) -> str:
    return "permission denied" if error.errno == errno.EACCES else error.strerror or "unreadable"
