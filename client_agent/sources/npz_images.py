"""Prepared images of a MedMNIST-style .npz file, with the federation's labels."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from client_agent.preparation.prepare import prepare
from client_agent.sources.class_names import LEFT_OUT, ClassNames
from client_agent.sources.npz import read_npz_groups, read_npz_images, read_npz_split
from client_agent.sources.reading import Read

_OnProgress = Callable[[int, int], None] | None


def labelled(
    path: Path,
    names: ClassNames,
    only_classes: Sequence[str] | None,
    split: str,
    image_size: int,
    channels: int,
    on_progress: _OnProgress,
) -> tuple[frozenset[int] | None, Read]:
    """Read an .npz file's split; without class names label i is the federation's class i.

    Returns:
        The indices of `only_classes`, None for no restriction, and the images.

    Raises:
        DataError: as for `load_images`.
    """
    images, labels, own = read_npz_split(path, split)
    groups = read_npz_groups(path, split, len(images))
    if own is None and only_classes is not None:
        only_classes = [_name_of_index(text, names) for text in only_classes]
    wanted = names.subset(only_classes)
    mapping: dict[int, int] = {}
    unmapped: Counter[str] = Counter()
    counts = Counter(labels.tolist())
    for label in sorted(counts):
        index = names.find(own[label]) if own else (label if label < len(names.classes) else None)
        if index is None:
            unmapped[own[label] if own else str(label)] = counts[label]
        elif index != LEFT_OUT:
            mapping[label] = index
    if unmapped and wanted is None:
        raise names.unmapped(unmapped, f"{path.name}: labels")
    chosen = [
        (number, mapping[label])
        for number, label in enumerate(labels.tolist())
        if label in mapping and (wanted is None or mapping[label] in wanted)
    ]
    result = Read()
    for done, (number, label) in enumerate(chosen, start=1):
        image = prepare(images[number], image_size=image_size, channels=channels)
        result.add(image, label, f"{split}/{number}", groups[number])
        if on_progress is not None:
            on_progress(done, len(chosen))
    return wanted, result


def unlabelled(
    path: Path, split: str, image_size: int, channels: int, on_progress: _OnProgress
) -> Read:
    """Read the images of an .npz file's split.

    Raises:
        DataError: as for `load_unlabelled`.
    """
    images = read_npz_images(path, split)
    groups = read_npz_groups(path, split, len(images))
    result = Read()
    for number, pixels in enumerate(images):
        image = prepare(pixels, image_size=image_size, channels=channels)
        result.add(image, -1, f"{split}/{number}", groups[number])
        if on_progress is not None:
            on_progress(number + 1, len(images))
    return result


def _name_of_index(text: str, names: ClassNames) -> str:
    """Turn `3` into the fourth class's name, unless a class is called `3`."""
    if names.find(text) is None and text.isdecimal() and int(text) < len(names.classes):
        return names.classes[int(text)]
    return text
