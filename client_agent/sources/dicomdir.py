"""A DICOMDIR: the table of contents of a CD or an export (PS3.3 F, PS3.10 8)."""

import warnings
from pathlib import Path
from typing import Any

from client_agent.errors import DataError
from client_agent.sources.labelled import Skipped
from client_agent.sources.tree import FileEntry

MAX_BYTES = 256 << 20
_NAME = "DICOMDIR"
_DIRECTORY = "1.2.840.10008.1.3.10"


def is_dicomdir(path: Path) -> bool:
    """Say whether a file is a DICOMDIR, by its name, as the standard prescribes it."""
    return path.name.upper() == _NAME and path.is_file()


def read_dicomdir(path: Path) -> tuple[list[FileEntry], list[Skipped]]:
    """List the image files that a DICOMDIR names, below its own folder.

    Returns:
        The files, in its order, and those that it names and that are not there.

    Raises:
        DataError: damaged, or no DICOMDIR.
    """
    found: list[FileEntry] = []
    missing: list[Skipped] = []
    disk = _Disk(path.parent)
    for parts in _referenced(path):
        if not parts or any(part in ("", ".", "..") or "/" in part for part in parts):
            missing.append(Skipped("/".join(parts)[:200], "DICOMDIR names a path outside its disk"))
            continue
        file = disk.find(parts)
        if file is None:
            missing.append(Skipped("/".join(parts), "named in DICOMDIR and not there"))
            continue
        status = file.stat()
        relative = file.relative_to(path.parent).as_posix()
        found.append(FileEntry(relative, status.st_size, status.st_mtime_ns))
    return found, missing


def _referenced(path: Path) -> list[tuple[str, ...]]:
    import pydicom

    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path.name}: larger than the {MAX_BYTES} bytes accepted")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            directory = pydicom.dcmread(path)
            if str(directory.file_meta.get("MediaStorageSOPClassUID", "")) != _DIRECTORY:
                raise DataError(f"{path.name}: is no DICOMDIR by its content")
            records = directory.DirectoryRecordSequence
            return [_parts(record) for record in records if "ReferencedFileID" in record]
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"cannot read {path.name}: {error.strerror}") from error
    except Exception as error:  # a damaged file fails anywhere in the parser
        raise DataError(f"{path.name}: damaged ({type(error).__name__})") from error


def _parts(record: Any) -> tuple[str, ...]:
    value = record.ReferencedFileID
    components = [value] if isinstance(value, str) else value
    # Some writers put the whole path into one component.
    return tuple(part for item in components for part in str(item).split("\\"))


class _Disk:
    """Finds files whatever case a mounted CD shows names in; never outside its root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, parts: tuple[str, ...]) -> Path | None:
        here: Path | None = self._root
        for part in parts:
            if here is None:
                return None
            exact = here / part
            here = exact if exact.exists() else self._listing(here).get(part.upper())
        if here is None or not here.resolve().is_relative_to(self._real_root):
            return None
        return here if here.is_file() else None

    def _listing(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listings:
            try:
                self._listings[folder] = {path.name.upper(): path for path in folder.iterdir()}
            except OSError:
                self._listings[folder] = {}
        return self._listings[folder]
