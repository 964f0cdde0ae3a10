"""The contact sheet of a scan: real images as training would see them, for the site alone."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from client_agent.preparation.dicom_rules import Rendering
from client_agent.report.contact_sheet import write_contact_sheet
from client_agent.sources.headers import Header
from client_agent.sources.labelled import Skipped
from client_agent.sources.labelling import Labelling
from client_agent.sources.reading import FileItem, read_files
from ff_protocol.spec import ImageSpec

COLUMNS = 16
_MODE = 0o600


def write_sheet(
    path: Path,
    root: Path,
    seen: Sequence[tuple[str, Header]],
    labels: Labelling,
    classes: Sequence[str],
    rendering: Rendering,
    image: ImageSpec,
) -> tuple[tuple[str, ...], list[Skipped]]:
    """Write a PNG with a row for each class: images from all over the source, mode 0600.

    Args:
        path: the file to write.
        root: the folder that candidates are relative to.
        seen: candidates with their headers.
        labels: their classes.
        classes: names by index.
        rendering: how DICOM files are shown.
        image: shape of each image.

    Returns:
        The classes of the rows, and images chosen that could not be read.

    Raises:
        StorageError: the disk refused.
        ResourceError: the source went away.
    """
    by_class: dict[int, list[str]] = defaultdict(list)
    for relative, header in seen:
        label = labels.labels.get(relative)
        usable = not header.reason and (rendering.allow_burned_in or not header.burned_in)
        if label is not None and label.index >= 0 and usable:
            by_class[label.index].append(relative)
    rows: list[np.ndarray] = []
    names: list[str] = []
    unreadable: list[Skipped] = []
    for index, candidates in sorted(by_class.items()):
        chosen = [candidates[at] for at in _spread(len(candidates), COLUMNS)]
        items = [FileItem(relative, relative, index) for relative in chosen]
        read = read_files(root, items, image.size, image.channels, rendering=rendering)
        unreadable += read.skipped
        if read.images:
            rows.append(np.stack(read.images[:COLUMNS]))
            names.append(classes[index])
    if rows:
        write_contact_sheet(rows, path, COLUMNS, mode=_MODE)
    return tuple(names), unreadable


def _spread(count: int, wanted: int) -> list[int]:
    """Positions spread evenly over `count`: neighbours in a tree are slices of one patient."""
    if count <= wanted:
        return list(range(count))
    return [number * count // wanted for number in range(wanted)]
