"""Images from wherever they are: the one entry, whatever `--data` names.

That is an .npz file, a folder tree of DICOM files and pictures, a DICOMDIR, or a DICOMweb server;
labels come from folders, a labels.csv or a DICOM attribute. Reading, preparation and the rule for
unreadable files are the same for all.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation.dicom_rules import Rendering
from client_agent.sources import npz_images, plan
from client_agent.sources.class_names import ClassNames
from client_agent.sources.dicomdir import is_dicomdir, read_dicomdir
from client_agent.sources.index import HeaderIndex
from client_agent.sources.label_map import read_label_map
from client_agent.sources.label_tag import parse_label_tag
from client_agent.sources.labelled import LabelledImages, UnlabelledImages
from client_agent.sources.location import Location, is_there
from client_agent.sources.reading import (
    FileItem,
    Read,
    read_files,
    stop_if_contradictory,
    stop_if_too_many,
)
from client_agent.sources.tree import list_candidates, of_split

OnProgress = Callable[[int, int], None]


def load_images(
    path: Location,
    *,
    classes: Sequence[str],
    image_size: int,
    channels: int,
    only_classes: Sequence[str] | None = None,
    labels_csv: Path | None = None,
    label_map: Path | None = None,
    label_tag: str | None = None,
    split: str = "train",
    rendering: Rendering | None = None,
    index: HeaderIndex | None = None,
    on_progress: OnProgress | None = None,
) -> LabelledImages:
    """Read and prepare every labelled image under `path`, in a fixed order.

    Args:
        path: an .npz file, a folder, a DICOMDIR or a DICOMweb server.
        classes: the federation's classes, in the spec's order.
        image_size: height and width wanted.
        channels: 1 or 3.
        only_classes: take these alone; folders and labels of other names are then ignored.
        labels_csv: labels by file instead of by folder; `labels.csv` in `path` is found by itself
            unless `label_tag` is given.
        label_map: the site's names of classes.
        label_tag: the DICOM attribute that holds the label.
        split: train, val or test, where the source is divided so.
        rendering: how DICOM files are shown; None for what each file says.
        index: headers that are known already.
        on_progress: called with images done and images in all; before that with headers, where
            they must be read first.

    Raises:
        DataError: nothing to read, an unmapped name, contradictory labels, a requested class
            without images, a bad labels.csv, or more than 5 % of the images unreadable.
        UsageError: options that cannot work together.
        NetworkError: the server cannot be reached.
        ResourceError: the source went away midway.
    """
    mapping = None if label_map is None else read_label_map(label_map, classes)
    names = ClassNames(classes, mapping)
    tags = () if label_tag is None else parse_label_tag(label_tag)
    rule = plan.LabelRule(labels_csv, tags)
    if tags and labels_csv is not None:
        raise DataError("--labels and --label-tag say the same thing twice: give one")
    if not is_there(path):
        raise DataError(f"{path}: no such file or folder")
    where = path.name
    if not isinstance(path, Path):
        from client_agent.sources.dicomweb.load import read_labelled

        wanted = names.subset(only_classes)
        result = read_labelled(
            path, names, wanted, rule, image_size, channels, rendering, on_progress
        )
    elif path.is_dir() or is_dicomdir(path):
        wanted = names.subset(only_classes)
        result = _folder(
            path, names, wanted, rule, split, image_size, channels, rendering, index, on_progress
        )
    elif labels_csv is not None or tags:
        option = "--label-tag" if tags else "--labels"
        raise DataError(f"{option} goes with a folder of images, not with a file")
    elif path.suffix.lower() == ".npz":
        wanted, result = npz_images.labelled(
            path, names, only_classes, split, image_size, channels, on_progress
        )
    else:
        raise DataError(f"{where}: neither a folder, a DICOMDIR nor an .npz file")
    stop_if_too_many(result)
    stop_if_contradictory(result, names.classes)
    labels = np.array(result.labels, dtype=np.int64)
    _require_classes(labels, names, wanted, result, where)
    return LabelledImages(
        images=_stack(result, image_size, channels),
        labels=labels,
        classes=names.classes,
        identifiers=tuple(result.identifiers),
        groups=tuple(result.groups),
        skipped=result.skipped,
        codes=names.mapping.codes,
    )


def load_unlabelled(
    path: Location,
    *,
    image_size: int,
    channels: int,
    split: str = "test",
    rendering: Rendering | None = None,
    on_progress: OnProgress | None = None,
) -> UnlabelledImages:
    """Read and prepare every image: of a folder, DICOMDIR, server, .npz, or a single file.

    `rendering` None takes what each file says, text burned into pixels included: what is only
    looked at leaves the site in no form.

    Raises:
        DataError: nothing to read, or more than 5 % of the images unreadable.
        NetworkError: the server cannot be reached.
        ResourceError: the source went away midway.
    """
    rendering = rendering or Rendering(allow_burned_in=True)
    if not is_there(path):
        raise DataError(f"{path}: no such file or folder")
    if not isinstance(path, Path):
        from client_agent.sources.dicomweb.load import read_unlabelled

        result = read_unlabelled(path, image_size, channels, rendering, on_progress)
    elif path.is_dir():
        names = of_split(path, list_candidates(path), split)
        result = _unlabelled(path, names, image_size, channels, rendering, on_progress)
    elif is_dicomdir(path):
        files, missing = read_dicomdir(path)
        names = [entry.relative for entry in files]
        result = _unlabelled(path.parent, names, image_size, channels, rendering, on_progress)
        result.damaged += missing
    elif path.suffix.lower() == ".npz":
        result = npz_images.unlabelled(path, split, image_size, channels, on_progress)
    else:
        result = _unlabelled(path.parent, [path.name], image_size, channels, rendering, on_progress)
    stop_if_too_many(result)
    if not result.images:
        raise DataError(f"{path.name}: no images found", hint=_reasons(result))
    return UnlabelledImages(
        images=_stack(result, image_size, channels),
        identifiers=tuple(result.identifiers),
        groups=tuple(result.groups),
        skipped=result.skipped,
    )


def _folder(
    path: Path,
    names: ClassNames,
    wanted: frozenset[int] | None,
    rule: plan.LabelRule,
    split: str,
    image_size: int,
    channels: int,
    rendering: Rendering | None,
    index: HeaderIndex | None,
    on_progress: OnProgress | None,
) -> Read:
    files, missing = (None, []) if path.is_dir() else read_dicomdir(path)
    root = path if files is None else path.parent
    found = root / "labels.csv"
    if rule.csv is None and not rule.tags and found.is_file():
        rule = plan.LabelRule(found)
    planned = plan.plan_folder(
        root, names, wanted, rule, split, files=files, index=index, on_progress=on_progress
    )
    plan.require(planned.items, names, wanted, root.name)
    result = read_files(root, planned.items, image_size, channels, on_progress, rendering)
    result.damaged += [*planned.damaged, *missing]
    result.others += planned.others
    return result


def _unlabelled(
    root: Path,
    names: Sequence[str],
    image_size: int,
    channels: int,
    rendering: Rendering,
    on_progress: OnProgress | None,
) -> Read:
    items = [FileItem(name, plan.printable(name), -1) for name in names]
    return read_files(root, items, image_size, channels, on_progress, rendering)


def _stack(result: Read, size: int, channels: int) -> np.ndarray:
    return np.stack(result.images).reshape(-1, size, size, channels)


def _require_classes(
    labels: np.ndarray,
    names: ClassNames,
    wanted: frozenset[int] | None,
    result: Read,
    where: str,
) -> None:
    for index in sorted(wanted or ()):
        if not (labels == index).any():
            raise DataError(
                f"{where}: no readable images of class {names.classes[index]!r}",
                hint=_reasons(result),
            )
    if not len(labels):
        raise DataError(f"{where}: no readable images", hint=_reasons(result))


def _reasons(result: Read) -> str | None:
    """Say why nothing was left, if everything was left out for one reason."""
    reasons = {item.reason for item in result.skipped}
    if len(reasons) != 1:
        return None
    (reason,) = reasons
    return f"{reason}; {result.hints[reason]}" if reason in result.hints else reason
