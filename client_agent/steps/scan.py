"""Look at images before anything is trained: what is there, of which class, what will be refused.

Needs no home; with one, names are compared with the federation's classes and the index is kept in
the home. No pixel is decoded unless a contact sheet is asked for.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from client_agent.errors import DataError, UsageError
from client_agent.preparation.dicom_rules import Rendering
from client_agent.progress import SILENT, Progress
from client_agent.sources.index import HeaderIndex, cached_index
from client_agent.sources.label_map import Code
from client_agent.sources.label_tag import parse_label_tag
from client_agent.sources.location import Location, is_there
from client_agent.sources.look import class_names, is_npz, label, look
from client_agent.sources.options import NOTHING_SAID, SourceOptions, agree
from client_agent.sources.overview import Overview, overview
from client_agent.sources.plan import LabelRule
from client_agent.sources.tree import of_split
from client_agent.steps.scan_sheet import write_sheet
from ff_protocol.preparation import MIDDLE_FRAME
from ff_protocol.spec import FederationSpec, ImageSpec

SHEET_IMAGE = ImageSpec(size=64, channels=1)
"""Shape of a contact sheet's images where no federation says."""


@dataclass(frozen=True)
class ScanOptions:
    """What `scan` may be told.

    Attributes:
        data: as for `train`.
        labels: CSV with labels.
        source: whatever else there is to say of the images.
        split: of a source divided into train, val and test, this part; None looks at all.
        sheet: PNG to write, with a row of prepared images for each class.
    """

    data: Location
    labels: Path | None = None
    source: SourceOptions = NOTHING_SAID
    split: str | None = None
    sheet: Path | None = None


@dataclass(frozen=True)
class Scanned:
    """What `scan` found.

    Attributes:
        overview: the figures.
        classes: names by index: the federation's, or those that the data suggest.
        of_federation: whether they are the federation's.
        codes: SNOMED CT and RadLex codes of classes, by the label map.
        files: image files looked at.
        other_files: number of files of other kinds, by suffix.
        known: how many of `files` the index knew.
        seconds: that it took.
        warnings: on window and frame.
        sheet_rows: classes on the contact sheet, from top to bottom.
    """

    overview: Overview
    classes: tuple[str, ...]
    of_federation: bool
    codes: Mapping[str, tuple[Code, ...]]
    files: int
    other_files: dict[str, int]
    known: int
    seconds: float
    warnings: tuple[str, ...] = ()
    sheet_rows: tuple[str, ...] = ()


def scan(
    options: ScanOptions,
    *,
    spec: FederationSpec | None = None,
    index: Path | None = None,
    progress: Progress = SILENT,
) -> Scanned:
    """Look at a source.

    Args:
        options: which, and how labels are found.
        spec: the federation's, None where there is none yet.
        index: what is known of files already; None takes the user's cache.
        progress: watches.

    Raises:
        DataError: nothing is there, or labels that cannot be read.
        UsageError: options that cannot work together.
        ResourceError: the source went away midway.
        NetworkError: the server cannot be reached.
        StorageError: the contact sheet cannot be written.
    """
    started = time.monotonic()
    rendering, warnings = _rendering(options.source, spec)
    rule = _rule(options)
    classes = None if spec is None else spec.classes
    with progress.task("reading headers", 1) as task:
        looked = look(
            options.data,
            rule.tags,
            classes,
            HeaderIndex(index or cached_index()),
            lambda done, total: task.update(done / max(total, 1), f"{done}/{total}"),
        )
    if options.split is not None:
        names_seen = [name for name, _ in looked.seen]
        chosen = set(of_split(Path(options.data.name), names_seen, options.split))
        looked = replace(looked, seen=[item for item in looked.seen if item[0] in chosen])
    if not looked.seen and not looked.skipped:
        raise DataError(
            f"{options.data.name}: no images found",
            hint="DICOM, PNG, JPEG, TIFF and BMP files are looked for",
        )
    if rule.csv is None and not rule.tags and looked.root is not None:
        beside = looked.root / "labels.csv"
        rule = replace(rule, csv=beside if beside.is_file() else None)
    names = class_names(looked, rule, classes, options.source.label_map)
    labels = label(looked, rule, names)
    skipped = list(looked.skipped)
    sheet_rows: tuple[str, ...] = ()
    if options.sheet is not None:
        if looked.root is None:
            raise UsageError("--sheet is made of a folder's files")
        image = SHEET_IMAGE if spec is None else spec.image
        sheet_rows, unreadable = write_sheet(
            options.sheet, looked.root, looked.seen, labels, names.classes, rendering, image
        )
        skipped += unreadable
    return Scanned(
        overview=overview(looked.seen, labels, names.classes, rendering, skipped),
        classes=names.classes,
        of_federation=spec is not None,
        codes=names.mapping.codes,
        files=len(looked.seen),
        other_files=dict(looked.others.most_common()),
        known=looked.known,
        seconds=round(time.monotonic() - started, 3),
        warnings=warnings,
        sheet_rows=sheet_rows,
    )


def _rendering(
    source: SourceOptions, spec: FederationSpec | None
) -> tuple[Rendering, tuple[str, ...]]:
    if spec is not None:
        return agree(source, spec.preparation.window_rule, spec.preparation.frame_rule)
    rendering, _ = agree(source, None, MIDDLE_FRAME)  # there is nobody yet to differ from
    return rendering, ()


def _rule(options: ScanOptions) -> LabelRule:
    if not is_there(options.data):
        raise DataError(f"{options.data}: no such file or folder")
    if is_npz(options.data) and (options.labels or options.source.label_tag):
        raise UsageError("--labels and --label-tag go with a folder of images, not with a file")
    tags = () if options.source.label_tag is None else parse_label_tag(options.source.label_tag)
    if tags and options.labels is not None:
        raise UsageError("--labels and --label-tag say the same thing twice: give one")
    return LabelRule(options.labels, tags)
