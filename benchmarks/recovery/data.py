"""Any MedMNIST-style file as training, validation and test images of one shape."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from client_agent.demo.datasets import DIGITS, load_demo_data
from client_agent.errors import DataError, UsageError
from client_agent.preparation.prepare import prepare
from client_agent.sources.npz import read_npz_split

SMALLEST_IMAGE, LARGEST_IMAGE = 8, 256
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
"""What is taken from the training images where a file has no such split."""


class Labelled(NamedTuple):
    """Images uint8 [n, H, W, C] with labels int64 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def take(self, members: NDArray[Any]) -> "Labelled":
        """Return the images that `members` selects."""
        return Labelled(self.images[members], self.labels[members])


@dataclass(frozen=True)
class RecoverData:
    """One data set, prepared alike for every arm.

    Attributes:
        name: of the file, without its ending.
        sha256: of the file; of the images for digits.
        classes: names in the order of the labels.
        train, validation, test: disjoint.
        carved: splits that the file lacked and that were taken from its training images.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled
    carved: tuple[str, ...]

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train.images.shape[1])

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.train.images.shape[3])

    def describe(self) -> dict[str, Any]:
        """Return JSON values, the number of images a class among them."""
        count = len(self.classes)
        return {
            "name": self.name,
            "sha256": self.sha256,
            "image_size": self.image_size,
            "channels": self.channels,
            "classes": list(self.classes),
            "carved": list(self.carved),
            **{
                part: np.bincount(getattr(self, part).labels, minlength=count).tolist()
                for part in ("train", "validation", "test")
            },
        }


def load_data(dataset: str, image_size: int | None = None) -> RecoverData:
    """Load `digits` or a MedMNIST-style file.

    A missing validation or test split is drawn from the training images, a tenth or a fifth of each
    class, the same whatever the seed of a run; a class with one image keeps it for training.

    Args:
        dataset: `digits` or the path of an `.npz`.
        image_size: resize to this many pixels; None keeps the file's own size, 8 to 256.

    Raises:
        DataError: no such file, damaged, not of this layout, or of a single class.
        UsageError: the image size is out of range.
    """
    if image_size is not None and not SMALLEST_IMAGE <= image_size <= LARGEST_IMAGE:
        raise UsageError(f"images of {image_size} pixels: {SMALLEST_IMAGE} to {LARGEST_IMAGE}")
    if dataset == DIGITS:
        digits = load_demo_data(DIGITS, Path(), seed=0)
        parts = {
            "train": Labelled(digits.train_images, digits.train_labels),
            "test": Labelled(digits.test_images, digits.test_labels),
        }
        sha256 = hashlib.sha256(digits.train_images.tobytes()).hexdigest()
        return _complete(DIGITS, sha256, digits.classes, parts, image_size)
    path = Path(dataset)
    if not path.is_file():
        raise DataError(f"there is no file {path}", hint="give a MedMNIST-style .npz file")
    names: tuple[str, ...] | None = None
    parts = {}
    for part, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        if part == "train" or _has(path, split):
            images, labels, names = read_npz_split(path, split)
            parts[part] = Labelled(images, labels)
    if names is None:
        count = 1 + max(int(part.labels.max()) for part in parts.values())
        names = tuple(f"class-{index}" for index in range(count))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return _complete(path.stem, sha256, names, parts, image_size)


def _complete(
    name: str,
    sha256: str,
    classes: tuple[str, ...],
    parts: dict[str, Labelled],
    image_size: int | None,
) -> RecoverData:
    """Carve out what is missing and bring all images to one shape."""
    if len(np.unique(parts["train"].labels)) < 2:
        raise DataError(f"{name}: the training images are all of one class")
    carved = tuple(part for part in ("test", "validation") if part not in parts)
    for part in carved:
        share = TEST_SHARE if part == "test" else VALIDATION_SHARE
        parts["train"], parts[part] = _carve(parts["train"], share)
    height, width = parts["train"].images.shape[1:3]
    size = image_size or min(max(height, width, SMALLEST_IMAGE), LARGEST_IMAGE)
    channels = int(parts["train"].images.shape[3])
    shaped = {part: _shaped(values, size, channels) for part, values in parts.items()}
    return RecoverData(name, sha256, tuple(classes), carved=carved, **shaped)


def _carve(whole: Labelled, share: float) -> tuple[Labelled, Labelled]:
    """Take `share` of each class away, at least one image where the class has two."""
    random = np.random.Generator(np.random.Philox(0))
    taken = np.zeros(len(whole.labels), dtype=bool)
    for label in np.unique(whole.labels):
        members = random.permutation(np.flatnonzero(whole.labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        taken[members[:count]] = True
    return whole.take(~taken), whole.take(taken)


def _shaped(part: Labelled, size: int, channels: int) -> Labelled:
    if part.images.shape[1:] == (size, size, channels):
        return part
    return Labelled(
        np.stack([prepare(image, image_size=size, channels=channels) for image in part.images]),
        part.labels,
    )


def _has(path: Path, split: str) -> bool:
    """Say whether the archive names the split's images; its damage is found by reading it."""
    with zipfile.ZipFile(path) as archive:
        return f"{split}_images.npy" in archive.namelist()
