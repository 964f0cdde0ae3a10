"""What a source holds, counted: classes, modalities, sizes, patients, and what will be left out.

Pure: from headers and labels to figures.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from client_agent.preparation.dicom_rules import Rendering
from client_agent.sources.class_names import LEFT_OUT
from client_agent.sources.dicom_objects import BURNED_IN
from client_agent.sources.headers import Header
from client_agent.sources.labelled import Skipped
from client_agent.sources.labelling import Labelling, Seen

EXAMPLES = 3

NO_CLASS = "(no class)"
LEFT_OUT_NAME = "(left out)"


@dataclass(frozen=True)
class Row:
    """Images of one class and one modality.

    Attributes:
        class_name: the federation's, or `NO_CLASS`, or `LEFT_OUT_NAME`.
        modality: Modality (0008,0060), or a picture's format.
        files: usable files.
        images: what they become by the frame rule.
        patients: how many different ones are named.
        unknown_patients: images of which no patient is known.
        sizes: the commonest, `HEIGHT x WIDTH` in pixels, with the number of files.
        syntaxes: Transfer Syntax UIDs with the number of files.
    """

    class_name: str
    modality: str
    files: int
    images: int
    patients: int
    unknown_patients: int
    sizes: tuple[tuple[str, int], ...]
    syntaxes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Refused:
    """Files that will be left out for one reason, with the first few."""

    reason: str
    files: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """The figures.

    Attributes:
        rows: by class, then modality.
        refused: by number of files.
        unmapped: names of no class, with the number of images.
        conflicts: images with two labels, described.
        absent: rows of a table that name no image.
        shared_uids: SOP Instance UIDs of two patients, described.
        remarks: what else should be known before training.
    """

    rows: tuple[Row, ...] = ()
    refused: tuple[Refused, ...] = ()
    unmapped: Mapping[str, int] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    shared_uids: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def overview(
    seen: Seen,
    labelling: Labelling,
    classes: Sequence[str],
    rendering: Rendering,
    refused: Sequence[Skipped] = (),
) -> Overview:
    """Count.

    Args:
        seen: every candidate with its header.
        labelling: its class.
        classes: names by index.
        rendering: which frames become images, and whether text in pixels is allowed.
        refused: what is left out besides files that were seen.
    """
    left_out = list(refused)
    usable: list[tuple[str, Header]] = []
    for relative, header in seen:
        if header.reason:
            left_out.append(Skipped(relative, header.reason))
        elif header.burned_in and not rendering.allow_burned_in:
            left_out.append(Skipped(relative, BURNED_IN))
        else:
            usable.append((relative, header))
    cells: dict[tuple[int, str], list[tuple[str, Header]]] = defaultdict(list)
    for relative, header in usable:
        label = labelling.labels.get(relative)
        order = len(classes) + 1 if label is None else label.index
        order = len(classes) if order == LEFT_OUT else order
        cells[order, header.modality or header.kind].append((relative, header))
    shown = [*classes, LEFT_OUT_NAME, NO_CLASS]
    rows = [
        _row(shown[order], modality, found, labelling, rendering)
        for (order, modality), found in sorted(cells.items())
    ]
    conflicts, shared, copies = _same_uid(usable, labelling, classes)
    return Overview(
        rows=tuple(rows),
        refused=_grouped(left_out),
        unmapped=dict(labelling.unmapped.most_common()),
        conflicts=(*labelling.conflicts, *conflicts),
        absent=tuple(labelling.absent),
        shared_uids=shared,
        remarks=tuple(_remarks([header for _, header in usable], rows, copies)),
    )


def _row(
    name: str,
    modality: str,
    found: Sequence[tuple[str, Header]],
    labelling: Labelling,
    rendering: Rendering,
) -> Row:
    groups = []
    for relative, header in found:
        label = labelling.labels.get(relative)
        groups.append((label.group if label else "") or header.group)
    every = rendering.frame.kind == "all"
    return Row(
        class_name=name,
        modality=modality,
        files=len(found),
        images=sum(header.frames if every else 1 for _, header in found),
        patients=len(set(groups) - {""}),
        unknown_patients=groups.count(""),
        sizes=_commonest(f"{header.rows} x {header.columns}" for _, header in found),
        syntaxes=_commonest(header.syntax for _, header in found if header.syntax),
    )


def _commonest(values: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(values).most_common())


def _grouped(skipped: Sequence[Skipped]) -> tuple[Refused, ...]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in skipped:
        by_reason[item.reason].append(item.identifier)
    grouped = [
        Refused(reason, len(names), tuple(sorted(names)[:EXAMPLES]))
        for reason, names in by_reason.items()
    ]
    return tuple(sorted(grouped, key=lambda item: (-item.files, item.reason)))


def _same_uid(
    usable: Sequence[tuple[str, Header]], labelling: Labelling, classes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Images of one UID: two labels, two patients, or mere copies."""
    by_uid: dict[str, list[tuple[str, Header]]] = defaultdict(list)
    for relative, header in usable:
        if header.uid:
            by_uid[header.uid].append((relative, header))
    conflicts, shared, copies = [], [], 0
    for uid, files in by_uid.items():
        if len(files) < 2:
            continue
        names = " and ".join(relative for relative, _ in files[:2])
        if len({header.group for _, header in files}) > 1:
            shared.append(f"{uid}: {names}")
        else:
            copies += len(files) - 1
        labels = {labelling.labels[item].index for item, _ in files if item in labelling.labels}
        if len(labels - {LEFT_OUT}) > 1:
            given = ", ".join(classes[index] for index in sorted(labels - {LEFT_OUT}))
            conflicts.append(f"{names} ({given})")
    return tuple(conflicts), tuple(shared), copies


def _remarks(headers: Sequence[Header], rows: Sequence[Row], copies: int) -> Iterator[str]:
    if copies:
        yield f"{copies} files repeat another's SOP Instance UID and would count twice"
    unknown = sum(row.unknown_patients for row in rows)
    if unknown:
        yield f"{unknown} images name no patient: they cannot be kept together in a split"
    if raw := sum(header.raw for header in headers):
        yield f"{raw} images are FOR PROCESSING (0008,0068): no viewer shows them so"
    if faces := sum(header.recognisable for header in headers):
        yield f"{faces} images show recognisable features, a face (0028,0302)"
    if burned := sum(header.burned_in for header in headers):
        yield f"{burned} images are said to have text in their pixels (0028,0301)"
    dicom = [header for header in headers if header.kind == "dicom"]
    if dicom:
        cleaned = sum(header.deidentified for header in dicom)
        yield f"{cleaned} of {len(dicom)} DICOM files say that identity was removed (0012,0062)"
