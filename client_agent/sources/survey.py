"""Every file of a tree with its header: from the index where it is known, else read, in parallel.

Threads would not help: parsing holds the interpreter. Processes are started for large trees only.
"""

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from client_agent.sources.headers import Header, identify, read_header
from client_agent.sources.index import HeaderIndex, KnownHeaders
from client_agent.sources.labelled import Skipped
from client_agent.sources.root_guard import RootGuard
from client_agent.sources.tree import FileEntry, candidate, list_files

_START = 132
_BATCH = 256
_MIN_FOR_PROCESSES = 4096
_MAX_PROCESSES = 16
_OTHER = "other"

OnProgress = Callable[[int, int], None]


@dataclass
class Survey:
    """What a tree holds.

    Attributes:
        entries: image candidates with their headers, by path.
        unlistable: folders that cannot be listed, and why.
        others: files of other kinds, by suffix.
        known: how many of the entries came from the index.
    """

    entries: list[tuple[FileEntry, Header]] = field(default_factory=list)
    unlistable: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    known: int = 0

    def add(self, entry: FileEntry, header: Header) -> None:
        """Take one file."""
        if header.kind == _OTHER:
            self.others[PurePosixPath(entry.relative).suffix.lower() or "(none)"] += 1
        else:
            self.entries.append((entry, header))


def survey(
    root: Path,
    *,
    files: Iterable[FileEntry] | None = None,
    tags: tuple[int, ...] = (),
    index: HeaderIndex | None = None,
    processes: int | None = None,
    on_progress: OnProgress | None = None,
) -> Survey:
    """Read the headers of a tree; no pixel is read and nothing is written below `root`.

    Args:
        root: the folder.
        files: those to look at; None walks the tree.
        tags: the attribute wanted as label, see `label_tag`.
        index: what is known already, and where to keep what was read.
        processes: how many read side by side; None takes all cores where it pays.
        on_progress: called with files done and files in all.

    Raises:
        DataError: the root cannot be listed.
        ResourceError: it went away midway. What was read until then is kept in the index.
    """
    result = Survey()
    source = "\0".join([str(root.resolve()), *(f"{tag:08x}" for tag in tags)])
    known = index.load(source) if index is not None else KnownHeaders({})
    found = list(files) if files is not None else list(list_files(root, _note(result)))
    unknown: list[FileEntry] = []
    for entry in found:
        header = known.find(entry)
        if header is None:
            unknown.append(entry)
        else:
            result.add(entry, header)
            result.known += header.kind != _OTHER
    gone = known.gone() if files is None else []
    fresh: list[tuple[FileEntry, Header]] = []
    guard = RootGuard(root)
    try:
        for entry, header, number in _read(root, unknown, tags, processes):
            if number:
                guard.check(OSError(number, os.strerror(number)))
            else:
                fresh.append((entry, header))
            result.add(entry, header)
            if on_progress is not None:
                done = len(result.entries) + result.others.total()
                on_progress(done, len(found))
    finally:
        if index is not None and (fresh or gone):
            index.store(source, fresh, gone)
    result.entries.sort(key=lambda item: item[0].relative)
    return result


def _note(result: Survey) -> Callable[[str, OSError], None]:
    def note(folder: str, error: OSError) -> None:
        result.unlistable.append(Skipped(folder, f"cannot be listed: {_why(error)}"))

    return note


_Row = tuple[FileEntry, Header, int]


def _read(
    root: Path, entries: Sequence[FileEntry], tags: tuple[int, ...], processes: int | None
) -> Iterator[_Row]:
    count = min(processes or os.cpu_count() or 1, _MAX_PROCESSES)
    if count < 2 or len(entries) < _MIN_FOR_PROCESSES:
        for entry in entries:
            yield _read_one(root, entry, tags)
        return
    import multiprocessing

    batches = [entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH)]
    # Not forked: the caller may have threads, and a forked child would share the index's locks.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_leave_stop_to_the_parent)
    try:
        for rows in pool.map(_read_batch, *zip(*((root, b, tags) for b in batches), strict=True)):
            yield from rows
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_stop_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_batch(root: Path, entries: Sequence[FileEntry], tags: tuple[int, ...]) -> list[_Row]:
    return [_read_one(root, entry, tags) for entry in entries]


def _read_one(root: Path, entry: FileEntry, tags: tuple[int, ...]) -> _Row:
    """Read one header; the number is that of the system's error, 0 for none."""
    try:
        with (root / entry.relative).open("rb") as stream:
            start = stream.read(_START)
            if not candidate(entry.relative, start):
                return entry, Header(_OTHER), 0
            kind = identify(start)
            if kind == "dicom":
                stream.seek(0)
                return entry, read_header(stream, entry.size, tags), 0
            if kind is None or kind == "part-10-missing":
                return entry, _unknown(entry, kind), 0
            return entry, _picture(root / entry.relative, kind), 0
    except OSError as error:
        return entry, Header("dicom", _why(error), damaged=True), error.errno or errno.EIO


def _unknown(entry: FileEntry, kind: str | None) -> Header:
    if not entry.size:
        return Header("dicom", "empty", damaged=True)
    if kind is None:
        return Header("dicom", "neither DICOM nor a picture, in spite of its name", damaged=True)
    return Header("dicom", "DICOM without the header of a file (PS3.10)", damaged=True)


def _picture(path: Path, kind: str) -> Header:
    """Read a picture's size; Pillow decodes nothing before it is asked for pixels."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=[kind]) as image:
                return Header(
                    kind, rows=image.height, columns=image.width, frames=1, photometric=image.mode
                )
    except Exception as error:  # by format, damage is any of a dozen errors
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Header(kind, "damaged or truncated image", damaged=True)


def _why(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied"
    return (error.strerror or "unreadable").lower()
