"""Images from wherever they are: the one entry, whatever PATH is.

PATH is an .npz file, or a folder tree of DICOM files and pictures labelled by its folders or by a
labels.csv. Reading, preparation and the rule for unreadable files are the same for all.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from client_agent.sources import plan
from client_agent.sources.class_names import ClassNames
from client_agent.sources.labelled import LabelledImages, UnlabelledImages
from client_agent.sources.reading import FileItem, Read, read_files, stop_if_too_many
from client_agent.sources.tree import list_candidates, of_split

OnProgress = Callable[[int, int], None]


def load_images(
    path: Path,
    *,
    classes: Sequence[str],
    image_size: int,
    channels: int,
    only_classes: Sequence[str] | None = None,
    labels_csv: Path | None = None,
    split: str = "train",
    on_progress: OnProgress | None = None,
) -> LabelledImages:
    """Read and prepare every labelled image under `path`, in a fixed order.

    Args:
        path: an .npz file or a folder.
        classes: the federation's classes, in the spec's order.
        image_size: height and width wanted.
        channels: 1 or 3.
        only_classes: take these alone; folders and labels of other names are then ignored.
        labels_csv: labels by file instead of by folder; `labels.csv` in `path` is found by itself.
        split: train, val or test, where the source is divided so.
        on_progress: called with images done and images in all.

    Raises:
        DataError: nothing to read, an unknown class, a requested class without images, a bad
            labels.csv, or more than 5 % of the images unreadable.
    """
    names = ClassNames(classes)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        wanted = names.subset(only_classes)
        items = plan.labelled_files(path, names, wanted, labels_csv, split)
        plan.require(items, names, wanted, path.name)
        result = read_files(path, items, image_size, channels, on_progress)
    elif labels_csv is not None:
        raise DataError("--labels goes with a folder of images, not with a file")
    elif path.suffix.lower() == ".npz":
        wanted, result = plan.npz(
            path, names, only_classes, split, image_size, channels, on_progress
        )
    else:
        raise DataError(f"{path.name}: neither a folder nor an .npz file")
    stop_if_too_many(result)
    labels = np.array(result.labels, dtype=np.int64)
    _require_classes(labels, names, wanted, path.name)
    return LabelledImages(
        images=_stack(result, image_size, channels),
        labels=labels,
        classes=names.classes,
        identifiers=tuple(result.identifiers),
        groups=tuple(result.groups),
        skipped=result.skipped,
    )


def load_unlabelled(
    path: Path,
    *,
    image_size: int,
    channels: int,
    split: str = "test",
    on_progress: OnProgress | None = None,
) -> UnlabelledImages:
    """Read and prepare every image under `path`: a folder, an .npz file or a single image.

    Raises:
        DataError: nothing to read, or more than 5 % of the images unreadable.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        names = of_split(path, list_candidates(path), split)
        items = [FileItem(name, name, -1) for name in names]
        result = read_files(path, items, image_size, channels, on_progress)
    elif path.suffix.lower() == ".npz":
        result = plan.npz_unlabelled(path, split, image_size, channels, on_progress)
    else:
        item = FileItem(path.name, path.name, -1)
        result = read_files(path.parent, [item], image_size, channels, on_progress)
    stop_if_too_many(result)
    if not result.images:
        raise DataError(f"{path.name}: no images found")
    return UnlabelledImages(
        images=_stack(result, image_size, channels),
        identifiers=tuple(result.identifiers),
        groups=tuple(result.groups),
        skipped=result.skipped,
    )


def _stack(result: Read, size: int, channels: int) -> np.ndarray:
    return np.stack(result.images).reshape(-1, size, size, channels)


def _require_classes(
    labels: np.ndarray, names: ClassNames, wanted: frozenset[int] | None, where: str
) -> None:
    for index in sorted(wanted or ()):
        if not (labels == index).any():
            raise DataError(f"{where}: no readable images of class {names.classes[index]!r}")
    if not len(labels):
        raise DataError(f"{where}: no readable images")
