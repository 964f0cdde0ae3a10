"""Which images to read and the class of each, before any pixel is decoded."""

from collections.abc import Callable, Sequence
from pathlib import Path

from client_agent.errors import DataError
from client_agent.preparation.prepare import prepare
from client_agent.sources.class_names import ClassNames
from client_agent.sources.dicom import read_uid
from client_agent.sources.labels import listed, read_labels
from client_agent.sources.npz import read_npz_images, read_npz_split
from client_agent.sources.reading import FileItem, Read
from client_agent.sources.tree import FolderLabels, list_candidates, of_split

_OnProgress = Callable[[int, int], None] | None


def labelled_files(
    root: Path,
    names: ClassNames,
    wanted: frozenset[int] | None,
    labels_csv: Path | None,
    split: str,
) -> list[FileItem]:
    """List a folder's images with their classes.

    Raises:
        DataError: as for `load_images`.
    """
    candidates = list_candidates(root)
    found_csv = root / "labels.csv"
    csv_path = labels_csv or (found_csv if found_csv.is_file() else None)
    if csv_path is not None:
        items = _by_csv(root, candidates, names, csv_path, skip_unknown=wanted is not None)
    else:
        items = _by_folder(root, of_split(root, candidates, split), names, wanted)
    return [item for item in items if wanted is None or item.label in wanted]


def _by_folder(
    root: Path, candidates: list[str], names: ClassNames, wanted: frozenset[int] | None
) -> list[FileItem]:
    label_of = FolderLabels(root, names)
    items = []
    for relative in candidates:
        try:
            items.append(FileItem(relative, relative, label_of(relative)))
        except DataError:
            if wanted is None:
                raise
    return items


def _by_csv(
    root: Path, candidates: list[str], names: ClassNames, csv_path: Path, *, skip_unknown: bool
) -> list[FileItem]:
    table = read_labels(csv_path, names, skip_unknown=skip_unknown)
    where: dict[str, str] = {}
    for relative in candidates:
        key = read_uid(root / relative) if table.by_uid else relative
        if key is not None:
            where.setdefault(key, relative)
    missing = [key for key in table.labels if key not in where]
    if missing:
        raise DataError(
            f"{csv_path.name}: {len(missing)} rows name images that are not in {root.name}: "
            f"{listed(missing)}"
        )
    items = [FileItem(where[key], key, label) for key, label in table.labels.items()]
    return sorted(items, key=lambda item: item.relative)


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


def npz(
    path: Path,
    names: ClassNames,
    only_classes: Sequence[str] | None,
    split: str,
    image_size: int,
    channels: int,
    on_progress: _OnProgress,
) -> tuple[frozenset[int] | None, Read]:
    """Read an .npz file's split; without class names label i is the federation's class i.

    Raises:
        DataError: as for `load_images`.
    """
    images, labels, own = read_npz_split(path, split)
    if own is None and only_classes is not None:
        only_classes = [_name_of_index(text, names) for text in only_classes]
    wanted = names.subset(only_classes)
    mapping: dict[int, int] = {}
    for label in sorted(set(labels.tolist())):
        index = names.find(own[label]) if own else (label if label < len(names.classes) else None)
        if index is not None:
            mapping[label] = index
        elif wanted is None:
            raise names.unknown(own[label] if own else str(label), f"{path.name}: class")
    chosen = [
        (number, mapping[label])
        for number, label in enumerate(labels.tolist())
        if label in mapping and (wanted is None or mapping[label] in wanted)
    ]
    result = Read()
    for done, (number, label) in enumerate(chosen, start=1):
        image = prepare(images[number], image_size=image_size, channels=channels)
        result.add(image, label, f"{split}/{number}")
        if on_progress is not None:
            on_progress(done, len(chosen))
    return wanted, result


def npz_unlabelled(
    path: Path, split: str, image_size: int, channels: int, on_progress: _OnProgress
) -> Read:
    """Read the images of an .npz file's split.

    Raises:
        DataError: as for `load_unlabelled`.
    """
    images = read_npz_images(path, split)
    result = Read()
    for number, pixels in enumerate(images):
        image = prepare(pixels, image_size=image_size, channels=channels)
        result.add(image, -1, f"{split}/{number}")
        if on_progress is not None:
            on_progress(number + 1, len(images))
    return result


def _name_of_index(text: str, names: ClassNames) -> str:
    """Turn `3` into the fourth class's name, unless a class is called `3`."""
    if names.find(text) is None and text.isdecimal() and int(text) < len(names.classes):
        return names.classes[int(text)]
    return text
