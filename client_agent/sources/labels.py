"""labels.csv: which image is of which class, by an identifier of DICOM or by path.

A header is required, in any order and case: a key column, `label` (or `class`), and, if wanted, a
patient column (`PatientID`, `patient` or `group`) that tells whose images belong together. Of
several UID columns the most specific is the key; other columns are ignored. Encoding and delimiter
are found out (`csv_text`).
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from client_agent.errors import DataError
from client_agent.sources.class_names import LEFT_OUT, ClassNames
from client_agent.sources.csv_text import decode_table, parse_table
from client_agent.sources.groups import group_key
from client_agent.sources.listing import listed

MAX_BYTES = 256 * 1024 * 1024

UID_KEYS = ("sopinstanceuid", "seriesinstanceuid", "studyinstanceuid", "accessionnumber")
"""Key columns that name DICOM objects, the most specific first."""

PATH = "path"
_PATHS = (PATH, "file", "filename")
_LABELS = ("label", "class")
_GROUPS = ("patientid", "patient", "group")
_SHOWN = 5


@dataclass(frozen=True)
class LabelTable:
    """What a labels.csv says.

    Attributes:
        key: `path`, or one of `UID_KEYS`.
        labels: class index of each key, in the file's order; `LEFT_OUT` for names that the label
            map leaves out. Paths are relative and POSIX.
        groups: patient's key (see `groups.group_key`) of each key that has one.
        encoding: that the file was in.
    """

    key: str
    labels: dict[str, int]
    groups: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"

    @property
    def by_uid(self) -> bool:
        """Whether keys are identifiers of DICOM."""
        return self.key != PATH


def read_labels(
    path: Path, names: ClassNames, *, unmapped: Counter[str] | None = None
) -> LabelTable:
    """Read and check a labels.csv.

    Args:
        path: the file.
        names: the federation's classes, and the site's names for them.
        unmapped: counts labels of no class, whose rows are then left out instead of refused.

    Raises:
        DataError: unreadable, no header, a row without key or label, an unmapped label, or rows
            that contradict each other; the first few offenders are listed.
    """
    rows, start, columns, encoding = _table(path)
    labels: dict[str, int] = {}
    groups: dict[str, str] = {}
    wrong: dict[str, list[str]] = {}
    unknown: Counter[str] = Counter()
    for number, row in enumerate(rows[start + 1 :], start=start + 2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [row[at].strip() if at < len(row) else "" for at in (columns.at, columns.label)]
        key, label = cells
        if not key or columns.label >= len(row):
            wrong.setdefault("rows without key or label", []).append(f"line {number}")
            continue
        index = names.find(label)
        if index is None:
            unknown[label] += 1
            if unmapped is None:
                wrong.setdefault("unknown labels", []).append(f"{label[:40]!r} (line {number})")
            continue
        if columns.key == PATH:
            safe = _relative(key)
            if safe is None:
                wrong.setdefault("paths outside the folder", []).append(f"line {number}")
                continue
            key = safe
        group = _group(row, columns.group)
        if labels.setdefault(key, index) != index:
            wrong.setdefault("rows that contradict earlier ones", []).append(f"line {number}")
        elif group and groups.setdefault(key, group) != group:
            wrong.setdefault("rows that give one image two patients", []).append(f"line {number}")
    if wrong:
        parts = [f"{what}: {listed(items, _SHOWN)}" for what, items in wrong.items()]
        about = names.unmapped(unknown, path.name).hint if unknown else None
        raise DataError(
            f"{path.name}: {'; '.join(parts)}",
            hint=about or f"the federation's classes are {', '.join(names.classes)}",
        )
    if unmapped is not None:
        unmapped.update(unknown)
    elif all(index == LEFT_OUT for index in labels.values()):
        raise DataError(f"{path.name}: no usable rows")
    return LabelTable(columns.key, labels, groups, encoding)


def label_names(path: Path) -> tuple[str, ...]:
    """Return the distinct labels of a labels.csv, whatever they are, in the file's order.

    Raises:
        DataError: unreadable, or no header.
    """
    rows, start, columns, _ = _table(path)
    cells = (row[columns.label].strip() for row in rows[start + 1 :] if len(row) > columns.label)
    return tuple(dict.fromkeys(cell for cell in cells if cell))


def _table(path: Path) -> tuple[list[list[str]], int, "_Columns", str]:
    """Read the rows, which of them is the header, its columns, and the encoding."""
    text, encoding = decode_table(_bytes(path), path.name)
    rows = parse_table(text, path.name)
    start = next((number for number, row in enumerate(rows) if any(row)), len(rows))
    return rows, start, _columns(rows[start] if start < len(rows) else [], path.name), encoding


@dataclass(frozen=True)
class _Columns:
    """Which cell of a row is what; `group` is None where no patient is named."""

    key: str
    at: int
    label: int
    group: int | None


def _columns(header: list[str], name: str) -> _Columns:
    words = [re.sub(r"[^a-z]", "", cell.casefold()) for cell in header]

    def places(wanted: tuple[str, ...]) -> list[int]:
        return [number for number, word in enumerate(words) if word in wanted]

    uids = [number for key in UID_KEYS for number in places((key,))]
    paths, labels, groups = places(_PATHS), places(_LABELS), places(_GROUPS)
    repeated = [key for key in UID_KEYS if len(places((key,))) > 1]
    if len(labels) != 1 or len(groups) > 1 or repeated or bool(uids) + len(paths) != 1:
        raise DataError(
            f"{name}: the first line must name one of the columns SOPInstanceUID and path (or "
            "SeriesInstanceUID, StudyInstanceUID, AccessionNumber), the column label, and at most "
            "one of PatientID, patient and group",
            hint="for example: path,label",
        )
    at = uids[0] if uids else paths[0]
    return _Columns(words[at] if uids else PATH, at, labels[0], groups[0] if groups else None)


def _group(row: list[str], at: int | None) -> str:
    return group_key(row[at]) if at is not None and at < len(row) else ""


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {path.name}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path.name}: larger than the {MAX_BYTES} bytes accepted")
    return data


def _relative(text: str) -> str | None:
    """Normalise a path below the folder; None if it points elsewhere."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return None
    return path.as_posix()
