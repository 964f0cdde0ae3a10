"""Which images to read and the class of each, before any pixel is decoded.

Whatever a rule leaves open is an error here: names are mapped or left out by the site, not guessed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client_agent.errors import DataError
from client_agent.sources import labelling
from client_agent.sources.class_names import LEFT_OUT, ClassNames
from client_agent.sources.index import HeaderIndex
from client_agent.sources.labelled import Skipped
from client_agent.sources.labelling import Labelling, Seen
from client_agent.sources.labels import read_labels
from client_agent.sources.listing import listed
from client_agent.sources.reading import FileItem
from client_agent.sources.survey import survey
from client_agent.sources.tree import FileEntry, list_candidates, of_split

_SHOWN = 5


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
    on_progress: Callable[[int, int], None] | None = None,
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
        on_progress: called with headers done and in all, where headers must be read.

    Raises:
        DataError: as for `load_images`.
        ResourceError: the folder went away.
    """

    def seen() -> Seen:
        looked = survey(root, files=files, tags=rule.tags, index=index, on_progress=on_progress)
        return [(entry.relative, header) for entry, header in looked.entries]

    def candidates() -> list[str]:
        """With an index, files that it knows need not be opened."""
        if files is None and index is None:
            return list_candidates(root)
        return sorted(relative for relative, _ in seen())

    if rule.tags or rule.csv is not None:
        return plan_seen(seen, candidates, names, wanted, rule, root.name)
    found = labelling.by_folder(root, of_split(root, candidates(), split), names)
    if wanted is None and found.unlabelled:
        many = len(found.unlabelled) > 1
        raise DataError(
            f"{listed(found.unlabelled, _SHOWN)} {'lie' if many else 'lies'} in no class folder",
            hint="put images into one folder per class, or give --labels FILE.csv or --label-tag",
        )
    if wanted is None and found.unmapped:
        raise names.unmapped(found.unmapped, "there are folders")
    return Plan(_items(found, wanted))


def plan_seen(
    seen: Callable[[], Seen],
    candidates: Callable[[], list[str]],
    names: ClassNames,
    wanted: frozenset[int] | None,
    rule: LabelRule,
    where: str,
) -> Plan:
    """List images that a table or an attribute labels.

    Args:
        seen: gives candidates with their headers; asked only if headers are needed.
        candidates: gives candidates alone.
        names: as for `plan_folder`; `wanted` and `rule` likewise.
        wanted: see there.
        rule: with a table or an attribute.
        where: the source, for messages.

    Raises:
        DataError: as for `load_images`.
    """
    plan = Plan()
    if rule.csv is None:
        looked = seen()
        for relative, header in looked:
            if header.reason:
                kind = plan.damaged if header.damaged else plan.others
                kind.append(Skipped(printable(relative), header.reason))
        found = labelling.by_tag(looked, names)
        if found.conflicts:
            raise DataError(
                f"{len(found.conflicts)} images have values of two classes: "
                f"{listed(found.conflicts)}",
                hint="leave one of the names out in the label map, or give --labels FILE.csv",
            )
        if found.unmapped and wanted is None:
            raise names.unmapped(found.unmapped, "the attribute has values")
    else:
        table = read_labels(rule.csv, names, unmapped=None if wanted is None else Counter())
        if table.by_uid:
            found = labelling.by_identifier(seen(), table)
        else:
            found = labelling.by_path(candidates(), table)
        _require_complete(found, rule.csv.name, where)
    plan.items = _items(found, wanted)
    return plan


def _require_complete(found: Labelling, csv_name: str, where: str) -> None:
    if found.absent:
        raise DataError(
            f"{csv_name}: {len(found.absent)} rows name images that are not in {where}: "
            f"{listed(found.absent, _SHOWN)}"
        )
    if found.shared:
        raise DataError(
            f"{len(found.shared)} UIDs in {csv_name} are of two patients: "
            f"{listed(found.shared, _SHOWN)}",
            hint="name these images by path instead",
        )


def _items(found: Labelling, wanted: frozenset[int] | None) -> list[FileItem]:
    return [
        FileItem(relative, label.identifier or printable(relative), label.index, label.group)
        for relative, label in sorted(found.labels.items())
        if label.index != LEFT_OUT and (wanted is None or label.index in wanted)
    ]


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
