"""A folder tree: which files are image candidates, and which class their folders name."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from client_agent.errors import DataError
from client_agent.sources.class_names import ClassNames

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_SPLITS = ("train", "val", "test")


def list_candidates(root: Path) -> list[str]:
    """List image candidates under `root` as relative POSIX paths, sorted.

    Hidden files and folders, DICOMDIR and files of other kinds are left out. DICOM is told by
    content, so a name with another suffix is opened for its magic number. Symbolic links are
    followed only to places inside `root`.

    Raises:
        DataError: `root` or a folder in it cannot be listed.
    """
    found = []
    for path in _walk(root, root.resolve(), set()):
        suffix = path.suffix.lower()
        if suffix in PICTURE_SUFFIXES or has_dicom_magic(path) or _may_be_dicom(path):
            found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _may_be_dicom(path: Path) -> bool:
    """Say whether a file without the magic number should count as a damaged DICOM file.

    `.dcm` and its like say so; a name without suffix, or with digits (`IM.1.2.840.7`), is DICOM
    in many exports, unless it holds text: a README is no damage.
    """
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdecimal():
        return False
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return True
    return not start or b"\0" in start


def has_dicom_magic(path: Path) -> bool:
    """Say whether a file has `DICM` after its 128-byte preamble (PS3.10 section 7.1)."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _walk(folder: Path, real_root: Path, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:  # a link to an ancestor
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot list folder {folder.name!r}: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR":
            continue
        path = Path(entry.path)
        if entry.is_symlink() and not path.resolve().is_relative_to(real_root):
            continue
        if entry.is_dir():
            yield from _walk(path, real_root, seen)
        elif entry.is_file():
            yield path


class FolderLabels:
    """The class of each file: the nearest folder above it that names a class."""

    def __init__(self, root: Path, names: ClassNames) -> None:
        self._names = names
        self._root_class = names.find(root.resolve().name)

    def __call__(self, relative: str) -> int:
        """Return the index of a file's class.

        Raises:
            DataError: no folder above it names a class.
        """
        folders = PurePosixPath(relative).parts[:-1]
        for folder in reversed(folders):
            index = self._names.find(folder)
            if index is not None:
                return index
        if self._root_class is not None:
            return self._root_class
        if not folders:
            raise DataError(
                f"{relative} lies in no class folder",
                hint="put images into one folder per class, or give --labels FILE.csv",
            )
        blamed = folders[1] if folders[0] in _SPLITS and len(folders) > 1 else folders[0]
        raise self._names.unknown(blamed, "folder")


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
