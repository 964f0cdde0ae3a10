"""How fast a tree of DICOM files is scanned: the first time, and again with the index.

The tree is hard links to copies of sample files, made for the run and deleted after it: headers are
real, their reading comes from the page cache, so that the figure is the program's and not the
disk's.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import SHARED_DATA
from client_agent.sources.index import HeaderIndex
from client_agent.sources.reading import FileItem, read_files
from client_agent.sources.survey import survey

FILES = 100_000
QUICK_FILES = 5_000
COMPARED_FILES = 300
_A_FOLDER = 200


@dataclass(frozen=True)
class Row:
    """One way of looking at the tree. Processor time counts children."""

    way: str
    files: int
    processes: int
    seconds: float
    processor_seconds: float
    files_per_second: float
    files_per_processor_second: float


def measure(*, quick: bool) -> list[Row]:
    """Scan twice, and read pixels for comparison."""
    samples = sorted((SHARED_DATA / "dicom").glob("*.dcm"))
    if not samples:
        print("scan: no sample files in shared/data/dicom beside this checkout")
        return []
    count = QUICK_FILES if quick else FILES
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        root, index = Path(name) / "tree", HeaderIndex(Path(name) / "index.sqlite")
        files = _make_tree(root, samples, count)
        rows = [
            _timed("first scan", count, cores, lambda: survey(root, index=index)),
            _timed("second scan, index", count, 1, lambda: survey(root, index=index)),
        ]
        some = files[: min(count, COMPARED_FILES)]
        rows.append(_timed("read and prepared", len(some), 1, lambda: _prepare(root, some)))
        return rows


def _make_tree(root: Path, samples: Sequence[Path], count: int) -> list[Path]:
    files = []
    # Links share their sample's time, which the index must believe to be settled.
    copies = []
    for sample in samples:
        copy = root.parent / sample.name
        copy.write_bytes(sample.read_bytes())
        os.utime(copy, (1_600_000_000, 1_600_000_000))
        copies.append(copy)
    for number in range(count):
        if number % _A_FOLDER == 0:
            folder = root / f"class-{number // _A_FOLDER % 8}" / f"series-{number // _A_FOLDER}"
            folder.mkdir(parents=True)
        file = folder / f"IM{number:06d}"
        file.hardlink_to(copies[number % len(copies)])
        files.append(file)
    return files


def _prepare(root: Path, files: Sequence[Path]) -> None:
    """What a scan saves: pixels decoded and brought to 28 px, as `train` does."""
    names = [file.relative_to(root).as_posix() for file in files]
    read_files(root, [FileItem(name, name, 0) for name in names], 28, 1)


def _timed(way: str, files: int, processes: int, work: Callable[[], Any]) -> Row:
    before, started = _processor_seconds(), time.perf_counter()
    work()
    seconds, processor = time.perf_counter() - started, _processor_seconds() - before
    return Row(way, files, processes, seconds, processor, files / seconds, files / processor)


def _processor_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in spent)
