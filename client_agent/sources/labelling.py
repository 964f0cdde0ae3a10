"""The class of every image by one rule, and all that the rule cannot tell: nothing is raised here.

`plan` insists that nothing is left open; `scan` shows what is.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client_agent.sources.class_names import ClassNames
from client_agent.sources.headers import Header, accession_key
from client_agent.sources.labels import LabelTable
from client_agent.sources.tree import FolderLabels

Seen = Sequence[tuple[str, Header]]
"""Candidates by path (of a server: by address) with their headers."""

_KEYS: dict[str, Callable[[Header], str]] = {
    "sopinstanceuid": lambda header: header.uid,
    "seriesinstanceuid": lambda header: header.series,
    "studyinstanceuid": lambda header: header.study,
    "accessionnumber": lambda header: header.accession,
}


@dataclass(frozen=True)
class Label:
    """What is known of one image: index of its class, name to report, patient's key from a table.

    `identifier` and `group` are "" where the path and the file themselves say it.
    """

    index: int
    identifier: str = ""
    group: str = ""


@dataclass
class Labelling:
    """The outcome of one rule.

    Attributes:
        labels: by candidate.
        unmapped: names of no class, with the number of images.
        unlabelled: candidates that the rule says nothing of.
        conflicts: images that have two labels, described.
        absent: rows of a table without an image.
        shared: identifiers that two patients share, described.
    """

    labels: dict[str, Label] = field(default_factory=dict)
    unmapped: Counter[str] = field(default_factory=Counter)
    unlabelled: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)


def by_folder(root: Path, candidates: Sequence[str], names: ClassNames) -> Labelling:
    """The nearest folder above an image that names a class; see `tree.FolderLabels`."""
    label_of, result = FolderLabels(root, names), Labelling()
    for relative in candidates:
        index = label_of.find(relative)
        if index is not None:
            result.labels[relative] = Label(index)
        elif folder := label_of.blamed(relative):
            result.unmapped[folder] += 1
        else:
            result.unlabelled.append(relative)
    return result


def by_tag(seen: Seen, names: ClassNames) -> Labelling:
    """The class that an attribute's value names; an absent value is the name "".

    Files that are known to be no image have no say.
    """
    result = Labelling()
    for relative, header in seen:
        if header.reason:
            continue
        values = header.labels or ("",)
        found = {value: names.find(value) for value in values}
        if None in found.values():
            result.unmapped.update(value for value, index in found.items() if index is None)
        elif len(set(found.values())) > 1:
            result.conflicts.append(f"{relative} ({', '.join(values)[:80]})")
        else:
            (index,) = set(found.values())
            result.labels[relative] = Label(index if index is not None else 0)
    return result


def by_path(candidates: Sequence[str], table: LabelTable) -> Labelling:
    """The class that a table has for a path."""
    known = set(candidates)
    return Labelling(
        labels={
            key: Label(index, group=table.groups.get(key, ""))
            for key, index in sorted(table.labels.items())
            if key in known
        },
        absent=[key for key in table.labels if key not in known],
        unlabelled=[relative for relative in candidates if relative not in table.labels],
    )


def by_identifier(seen: Seen, table: LabelTable) -> Labelling:
    """The class that a table has for an image's UID, series, study or accession number.

    Of several files with one SOP Instance UID the first is taken: they are copies, unless they
    are of two patients.
    """
    single = table.key == "sopinstanceuid"
    found: dict[str, list[tuple[str, Header]]] = {}
    for relative, header in seen:
        key = _KEYS[table.key](header)
        if key and not (header.reason and not single):
            found.setdefault(key, []).append((relative, header))
    result = Labelling()
    for key, index in table.labels.items():
        hits = found.pop(accession_key(key) if table.key == "accessionnumber" else key, [])
        if not hits:
            result.absent.append(key)
        elif single and len({header.group for _, header in hits}) > 1:
            result.shared.append(f"{key} ({', '.join(relative for relative, _ in hits[:2])})")
        for relative, _ in hits[:1] if single else hits:
            name = key if single else ""
            result.labels[relative] = Label(index, name, table.groups.get(key, ""))
    result.unlabelled = [
        relative for rest in found.values() for relative, header in rest if not header.reason
    ]
    return result
