"""labels.csv: which image is of which class, by SOP Instance UID or by path.

A header is required: one key column, `SOPInstanceUID` or `path`, and `label`, in any order and
case; other columns are ignored. UTF-8, a byte order mark is tolerated (spreadsheets write one).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from client_agent.errors import DataError
from client_agent.sources.class_names import ClassNames

MAX_BYTES = 256 * 1024 * 1024
_SHOWN = 5
_KEYS = ("sopinstanceuid", "path")


@dataclass(frozen=True)
class LabelTable:
    """What a labels.csv says.

    Attributes:
        by_uid: whether the keys are SOP Instance UIDs, else relative POSIX paths.
        labels: class index of each key, in the file's order.
    """

    by_uid: bool
    labels: dict[str, int]


def read_labels(path: Path, names: ClassNames, *, skip_unknown: bool = False) -> LabelTable:
    """Read and check a labels.csv.

    Args:
        path: the file.
        names: the federation's classes.
        skip_unknown: leave out rows of other classes (the caller picked classes) instead of
            refusing them.

    Raises:
        DataError: unreadable, no header, a row without key or label, an unknown label, or rows
            that contradict each other; the first few offenders are listed.
    """
    rows = _rows(path)
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    keys = [column for column in _KEYS if column in header]
    if len(keys) != 1 or header.count(keys[0]) != 1 or header.count("label") != 1:
        raise DataError(
            f"{path.name}: the first line must name one of the columns SOPInstanceUID and path, "
            "and the column label",
            hint="for example: path,label",
        )
    by_uid = keys[0] == "sopinstanceuid"
    key_at, label_at = header.index(keys[0]), header.index("label")
    labels: dict[str, int] = {}
    wrong: dict[str, list[str]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(key_at, label_at) or not row[key_at].strip():
            wrong.setdefault("rows without key or label", []).append(f"line {number}")
            continue
        key, label = row[key_at].strip(), row[label_at].strip()
        index = names.find(label)
        if index is None:
            if not skip_unknown:
                wrong.setdefault("unknown labels", []).append(f"{label[:40]!r} (line {number})")
            continue
        if not by_uid:
            safe = _relative(key)
            if safe is None:
                wrong.setdefault("paths outside the folder", []).append(f"line {number}")
                continue
            key = safe
        if labels.setdefault(key, index) != index:
            wrong.setdefault("rows that contradict earlier ones", []).append(f"line {number}")
    if wrong:
        parts = [f"{what}: {listed(items)}" for what, items in wrong.items()]
        raise DataError(
            f"{path.name}: {'; '.join(parts)}",
            hint=f"the federation's classes are {', '.join(names.classes)}",
        )
    if not labels:
        raise DataError(f"{path.name}: no usable rows")
    return LabelTable(by_uid, labels)


def listed(items: Sequence[str]) -> str:
    """Join the first few of many for an error message."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {path.name}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path.name}: larger than the {MAX_BYTES} bytes accepted")
    try:
        text = data.decode("utf-8-sig")
        return list(csv.reader(text.splitlines(), strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8", hint="save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path.name}: not CSV ({error})") from error


def _relative(text: str) -> str | None:
    """Normalise a path below the folder; None if it points elsewhere."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return None
    return path.as_posix()
