"""A folder tree: which files are there, which are image candidates, which class folders name."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from client_agent.errors import DataError
from client_agent.sources.class_names import ClassNames
from client_agent.sources.headers import identify
from client_agent.sources.root_guard import RootGuard

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_SPLITS = ("train", "val", "test")
_START = 132

OnUnlistable = Callable[[str, OSError], None]


@dataclass(frozen=True)
class FileEntry:
    """A file below the root: its relative POSIX path, size in bytes, time of change in ns."""

    relative: str
    size: int
    mtime_ns: int


def list_files(root: Path, on_unlistable: OnUnlistable | None = None) -> Iterator[FileEntry]:
    """Walk a tree in the order of names; nothing is opened.

    Hidden files and folders and DICOMDIR are left out. Symbolic links are followed only to places
    inside `root`.

    Args:
        root: the folder.
        on_unlistable: told of a folder that cannot be listed, instead of the error below.

    Raises:
        DataError: `root`, or a folder in it, cannot be listed.
        ResourceError: `root` has gone away.
    """
    yield from _Walk(root, on_unlistable).below(root)


def list_candidates(root: Path) -> list[str]:
    """List image candidates under `root` as relative POSIX paths, sorted.

    DICOM and pictures are told by content, so that each file is opened; `candidate` has the rule.

    Raises:
        DataError: `root` or a folder in it cannot be listed.
    """
    found = [entry.relative for entry in list_files(root)]
    return sorted(name for name in found if candidate(name, read_start(root / name)))


def candidate(relative: str, start: bytes | None) -> bool:
    """Say whether a file counts as an image, sound or damaged.

    What its content says, it is. Else `.dcm`, `.png` and their like promise an image; a name
    without suffix, or with digits (`IM.1.2.840.7`), is DICOM in many exports, unless it holds
    text: a README is no damage.

    Args:
        relative: its path.
        start: its first 132 bytes; None if they cannot be read.
    """
    if start is not None and identify(start) is not None:
        return True
    suffix = PurePosixPath(relative).suffix.lower()
    if suffix in DICOM_SUFFIXES or suffix in PICTURE_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdecimal():
        return False
    return not start or b"\0" in start


def read_start(path: Path) -> bytes | None:
    """Return what `candidate` wants to know of a file's content."""
    try:
        with path.open("rb") as stream:
            return stream.read(_START)
    except OSError:
        return None


class _Walk:
    """One walk: where it began and which folders it has been in."""

    def __init__(self, root: Path, on_unlistable: OnUnlistable | None) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._guard = RootGuard(root)
        self._seen: set[Path] = set()
        self._on_unlistable = on_unlistable

    def below(self, folder: Path) -> Iterator[FileEntry]:
        real = folder.resolve()
        if real in self._seen:  # a link to an ancestor
            return
        self._seen.add(real)
        prefix = "" if folder == self._root else f"{folder.relative_to(self._root).as_posix()}/"
        for entry in self._entries(folder):
            if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR":
                continue
            path = Path(entry.path)
            try:
                if entry.is_symlink() and not path.resolve().is_relative_to(self._real_root):
                    continue
                if entry.is_dir():
                    yield from self.below(path)
                elif entry.is_file():
                    status = entry.stat()
                    yield FileEntry(prefix + entry.name, status.st_size, status.st_mtime_ns)
            except OSError as error:  # gone since it was listed
                self._guard.check(error)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as listing:
                return sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self._guard.check(error)
            if self._on_unlistable is None:
                raise DataError(f"cannot list folder {folder.name!r}: {error.strerror}") from error
            self._on_unlistable(folder.relative_to(self._root).as_posix(), error)
            return []


class FolderLabels:
    """The class of each file: the nearest folder above it that names a class."""

    def __init__(self, root: Path, names: ClassNames) -> None:
        self._names = names
        self._root_class = names.find(root.resolve().name)

    def find(self, relative: str) -> int | None:
        """Return the index of a file's class, `LEFT_OUT`, or None if no folder names one."""
        for folder in reversed(PurePosixPath(relative).parts[:-1]):
            index = self._names.find(folder)
            if index is not None:
                return index
        return self._root_class

    @staticmethod
    def blamed(relative: str) -> str:
        """Return the folder that should have named the class; "" for a file in none."""
        folders = PurePosixPath(relative).parts[:-1]
        if not folders:
            return ""
        return folders[1] if folders[0] in _SPLITS and len(folders) > 1 else folders[0]


def of_split(root: Path, candidates: list[str], split: str) -> list[str]:
    """Keep the files of `split` where the tree's first level is train/, val/ and test/.

    Raises:
        DataError: the tree is divided in this way and has no such part.
    """
    first = {PurePosixPath(item).parts[0] for item in candidates if "/" in item}
    if not first or not first <= set(_SPLITS):
        return candidates
    if split not in first:
        raise DataError(f"{root.name}: no folder {split!r} beside {', '.join(sorted(first))}")
    return [item for item in candidates if item.startswith(f"{split}/")]
