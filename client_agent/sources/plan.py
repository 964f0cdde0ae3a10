"""Which images to read and the class of each, before any pixel is decoded."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client_agent.errors import DataError
from client_agent.sources.class_names import LEFT_OUT, ClassNames
from client_agent.sources.headers import Header, accession_key
from client_agent.sources.index import HeaderIndex
from client_agent.sources.labelled import Skipped
from client_agent.sources.labels import LabelTable, read_labels
from client_agent.sources.listing import listed
from client_agent.sources.reading import FileItem
from client_agent.sources.survey import survey
from client_agent.sources.tree import FileEntry, FolderLabels, list_candidates, of_split

_SHOWN = 5
Seen = Sequence[tuple[str, Header]]
"""Candidates by path (or UID, of a server) with their headers."""

_KEYS: dict[str, Callable[[Header], str]] = {
    "sopinstanceuid": lambda header: header.uid,
    "seriesinstanceuid": lambda header: header.series,
    "studyinstanceuid": lambda header: header.study,
    "accessionnumber": lambda header: header.accession,
}


@dataclass(frozen=True)
class LabelRule:
    """Where labels come from: a table, an attribute, or neither: then from folders.

    Attributes:
        csv: a labels.csv.
        tags: see `label_tag`; empty for none.
    """

    csv: Path | None = None
    tags: tuple[int, ...] = ()


@dataclass
class Plan:
    """Images to read, and files that are known to be left out without reading more of them."""

    items: list[FileItem] = field(default_factory=list)
    damaged: list[Skipped] = field(default_factory=list)
    others: list[Skipped] = field(default_factory=list)


def plan_folder(
    root: Path,
    names: ClassNames,
    wanted: frozenset[int] | None,
    rule: LabelRule,
    split: str,
    *,
    files: Iterable[FileEntry] | None = None,
    index: HeaderIndex | None = None,
) -> Plan:
    """List a folder's images with their classes.

    Args:
        root: the folder.
        names: the federation's classes and the site's names for them.
        wanted: classes to take; None takes all and insists on a class for each file.
        rule: where labels come from.
        split: train, val or test, where the tree is divided so and folders give the labels.
        files: those to look at, None for the whole tree.
        index: what is known of them already.

    Raises:
        DataError: as for `load_images`.
        ResourceError: the folder went away.
    """

    def seen() -> Seen:
        looked = survey(root, files=files, tags=rule.tags, index=index)
        return [(entry.relative, header) for entry, header in looked.entries]

    if rule.tags:
        plan = by_tag(seen(), names, wanted)
    elif rule.csv is not None:
        table = read_labels(rule.csv, names, skip_unknown=wanted is not None)
        if table.by_uid:
            plan = by_identifier(seen(), table, rule.csv.name, root.name)
        else:
            candidates = _candidates(root, files, index, seen)
            plan = _by_path(root, candidates, table, rule.csv.name)
    else:
        candidates = _candidates(root, files, index, seen)
        plan = _by_folder(root, of_split(root, candidates, split), names, wanted)
    plan.items = [
        item
        for item in plan.items
        if item.label != LEFT_OUT and (wanted is None or item.label in wanted)
    ]
    return plan


def by_tag(seen: Seen, names: ClassNames, wanted: frozenset[int] | None) -> Plan:
    """Give each image the class that its attribute names; see `label_tag`.

    Raises:
        DataError: values that are of no class, or an image whose values are of two.
    """
    plan = Plan()
    unmapped: Counter[str] = Counter()
    conflicts: list[str] = []
    for relative, header in seen:
        if header.reason:
            (plan.damaged if header.damaged else plan.others).append(
                Skipped(relative, header.reason)
            )
            continue
        values = header.labels or ("",)
        found = {names.find(value) for value in values}
        if None in found:
            unmapped.update(value for value in values if names.find(value) is None)
        elif len(found) > 1:
            conflicts.append(f"{relative} ({', '.join(values)[:80]})")
        else:
            plan.items.append(FileItem(relative, printable(relative), found.pop() or 0))
    if conflicts:
        raise DataError(
            f"{len(conflicts)} images have values of two classes: {listed(conflicts)}",
            hint="leave one of the names out in the label map, or give --labels FILE.csv",
        )
    if unmapped and wanted is None:
        raise names.unmapped(unmapped, "the attribute has values")
    return plan


def by_identifier(seen: Seen, table: LabelTable, csv_name: str, where: str) -> Plan:
    """Give images the class that a table has for their UID, series, study or accession number.

    Raises:
        DataError: rows without an image, or images of two patients under one UID.
    """
    key_of = _KEYS[table.key]
    single = table.key == "sopinstanceuid"
    found: dict[str, list[tuple[str, Header]]] = {}
    for relative, header in seen:
        key = key_of(header)
        if key and not (header.reason and not single):
            found.setdefault(key, []).append((relative, header))
    keys = {key: accession_key(key) if table.key == "accessionnumber" else key
            for key in table.labels}  # fmt: skip
    missing = [key for key, hidden in keys.items() if hidden not in found]
    if missing:
        raise DataError(
            f"{csv_name}: {len(missing)} rows name images that are not in {where}: "
            f"{listed(missing, _SHOWN)}"
        )
    plan, shared = Plan(), []
    for key, label in table.labels.items():
        group, hits = table.groups.get(key, ""), found[keys[key]]
        if single and len({header.group for _, header in hits}) > 1:
            shared.append(f"{key} ({', '.join(relative for relative, _ in hits[:2])})")
        for relative, _ in hits[:1] if single else hits:
            name = key if single else printable(relative)
            plan.items.append(FileItem(relative, name, label, group))
    if shared:
        raise DataError(
            f"{len(shared)} UIDs in {csv_name} are of two patients: {listed(shared, _SHOWN)}",
            hint="name these images by path instead",
        )
    plan.items.sort(key=lambda item: item.relative)
    return plan


def require(
    items: Sequence[FileItem], names: ClassNames, wanted: frozenset[int] | None, where: str
) -> None:
    """Refuse an empty source or a requested class without files, before reading any.

    Raises:
        DataError: naming what is missing.
    """
    present = {item.label for item in items}
    for index in sorted(wanted or ()):
        if index not in present:
            raise DataError(f"{where}: no images of class {names.classes[index]!r}")
    if not items:
        raise DataError(
            f"{where}: no images found",
            hint="DICOM, PNG, JPEG, TIFF and BMP files are looked for, one folder per class",
        )


def printable(relative: str) -> str:
    """Return a path as it can be written down: names on a disk need not be UTF-8."""
    return relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _candidates(
    root: Path,
    files: Iterable[FileEntry] | None,
    index: HeaderIndex | None,
    seen: Callable[[], Seen],
) -> list[str]:
    """Image candidates by path; with an index, files that it knows need not be opened."""
    if files is None and index is None:
        return list_candidates(root)
    return sorted(relative for relative, _ in seen())


def _by_folder(
    root: Path, candidates: list[str], names: ClassNames, wanted: frozenset[int] | None
) -> Plan:
    label_of = FolderLabels(root, names)
    plan = Plan()
    unmapped: Counter[str] = Counter()
    outside: list[str] = []
    for relative in candidates:
        label = label_of.find(relative)
        if label is not None:
            plan.items.append(FileItem(relative, printable(relative), label))
        elif folder := label_of.blamed(relative):
            unmapped[folder] += 1
        else:
            outside.append(relative)
    if wanted is None and outside:
        raise DataError(
            f"{listed(outside, _SHOWN)} lie in no class folder"
            if len(outside) > 1
            else f"{outside[0]} lies in no class folder",
            hint="put images into one folder per class, or give --labels FILE.csv or --label-tag",
        )
    if wanted is None and unmapped:
        raise names.unmapped(unmapped, "there are folders")
    return plan


def _by_path(root: Path, candidates: list[str], table: LabelTable, csv_name: str) -> Plan:
    known = set(candidates)
    missing = [key for key in table.labels if key not in known]
    if missing:
        raise DataError(
            f"{csv_name}: {len(missing)} rows name images that are not in {root.name}: "
            f"{listed(missing, _SHOWN)}"
        )
    return Plan(
        [
            FileItem(key, printable(key), label, table.groups.get(key, ""))
            for key, label in sorted(table.labels.items())
        ]
    )
