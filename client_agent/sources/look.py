"""Headers of a source of any kind, and the classes that it suggests where no federation says."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from client_agent.sources import labelling
from client_agent.sources.class_names import ClassNames
from client_agent.sources.dicomdir import is_dicomdir, read_dicomdir
from client_agent.sources.headers import Header
from client_agent.sources.index import HeaderIndex
from client_agent.sources.label_map import LabelMap, fold, read_label_map
from client_agent.sources.labelled import Skipped
from client_agent.sources.labelling import Labelling, Seen
from client_agent.sources.labels import label_names, read_labels
from client_agent.sources.location import Location
from client_agent.sources.npz import npz_splits, read_npz_groups, read_npz_split
from client_agent.sources.plan import LabelRule
from client_agent.sources.survey import survey
from client_agent.sources.tree import FolderLabels

_NPZ = "npz"

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Looked:
    """What was seen of a source.

    Attributes:
        seen: image candidates with their headers.
        skipped: what cannot be looked at.
        others: files of other kinds, by suffix.
        known: how many headers the index knew.
        root: the folder that candidates are relative to; None for a server.
    """

    seen: Seen
    skipped: tuple[Skipped, ...]
    others: Counter[str]
    known: int
    root: Path | None


def look(
    source: Location,
    tags: tuple[int, ...],
    classes: Sequence[str] | None,
    index: HeaderIndex,
    on_progress: OnProgress,
) -> Looked:
    """Read the headers of a source.

    Args:
        source: of any kind.
        tags: the attribute wanted as label, see `label_tag`.
        classes: the federation's: what labels of an .npz file without names stand for.
        index: what is known of files already.
        on_progress: called with files (of a server: series) done and in all.

    Raises:
        DataError, ResourceError, NetworkError: as for `load_images`.
    """
    if not isinstance(source, Path):
        from client_agent.sources.dicomweb.load import list_headers

        return Looked(list_headers(source, tags, on_progress), (), Counter(), 0, None)
    if is_npz(source):
        return Looked(_npz_headers(source, classes or ()), (), Counter(), 0, None)
    files, missing = read_dicomdir(source) if is_dicomdir(source) else (None, [])
    root = source if files is None else source.parent
    found = survey(root, files=files, tags=tags, index=index, on_progress=on_progress)
    seen = [(entry.relative, header) for entry, header in found.entries]
    return Looked(seen, (*found.unlistable, *missing), found.others, found.known, root)


def label(looked: Looked, rule: LabelRule, names: ClassNames) -> Labelling:
    """Give every candidate its class by one rule.

    Raises:
        DataError: a table that cannot be read or contradicts itself.
    """
    if rule.tags or _says_labels_itself(looked):
        return labelling.by_tag(looked.seen, names)
    candidates = [relative for relative, _ in looked.seen]
    if rule.csv is not None:
        unmapped: Counter[str] = Counter()
        table = read_labels(rule.csv, names, unmapped=unmapped)
        found = (
            labelling.by_identifier(looked.seen, table)
            if table.by_uid
            else labelling.by_path(candidates, table)
        )
        found.unmapped.update(unmapped)
        return found
    if looked.root is None:
        return Labelling(unlabelled=candidates)
    return labelling.by_folder(looked.root, candidates, names)


def class_names(
    looked: Looked, rule: LabelRule, classes: Sequence[str] | None, label_map: Path | None
) -> ClassNames:
    """Return the federation's classes, or those that the data suggest, and the site's names.

    Without a federation the label map's classes count, else every name that is found: folders of
    the first level, a table's labels, an attribute's values.

    Raises:
        DataError, SpecError: a label map or a table that cannot be read.
    """
    mapping = LabelMap() if label_map is None else read_label_map(label_map, classes)
    if classes is None and mapping.classes:
        classes = mapping.classes
    if classes is None:
        distinct: dict[str, str] = {}
        for name in _suggested(looked, rule):
            if fold(name) and fold(name) not in mapping.left_out:
                distinct.setdefault(fold(name), name)
        classes = tuple(distinct.values())
    return ClassNames(classes, mapping)


def is_npz(source: Location) -> bool:
    """Say whether a source is a MedMNIST-style file."""
    return isinstance(source, Path) and source.suffix.lower() == ".npz" and source.is_file()


def _says_labels_itself(looked: Looked) -> bool:
    return any(header.kind == _NPZ for _, header in looked.seen[:1])


def _npz_headers(path: Path, classes: Sequence[str]) -> Seen:
    """Make a header of each image of an .npz file, with its split in place of a modality."""
    seen = []
    for split in npz_splits(path):
        images, labels, own = read_npz_split(path, split)
        groups = read_npz_groups(path, split, len(images))
        _, rows, columns, channels = images.shape
        called = own or classes
        for number, (index, group) in enumerate(zip(labels.tolist(), groups, strict=True)):
            header = Header(
                _NPZ,
                modality=f"{_NPZ} {split}",
                rows=rows,
                columns=columns,
                frames=1,
                photometric="RGB" if channels == 3 else "grey",
                bits=8,
                group=group,
                labels=(called[index] if index < len(called) else str(index),),
            )
            seen.append((f"{split}/{number}", header))
    return seen


def _suggested(looked: Looked, rule: LabelRule) -> Sequence[str]:
    if rule.tags or _says_labels_itself(looked):
        return sorted({value for _, header in looked.seen for value in header.labels})
    if rule.csv is not None:
        return label_names(rule.csv)
    return sorted({FolderLabels.blamed(relative) for relative, _ in looked.seen})
