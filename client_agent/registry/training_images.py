"""Which images went into which own module, and which may never again. Nothing here leaves the site.

`training-images/<module>.json` is written before a module is put into the outbox, with mode 0600,
and deleted with the module. `withdrawn.json` outlasts it: it holds names and hashes of images that
`train` must leave out from then on. Images that were held out count as used: they decided when
training ended and stand behind the card's figures.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MIB

_MAX_BYTES = 1024 * MIB
_MODE = 0o600


@dataclass(frozen=True)
class ImageName:
    """One image: as its source names it, and the SHA-256 of its prepared pixels."""

    identifier: str
    pixels: str


@dataclass(frozen=True)
class TrainingImages:
    """What an own module was trained on, and how, so that it can be trained again without some.

    Attributes:
        module: its digest.
        class_name: its class.
        options: of `train`, as JSON values: where the images lie and how long it took.
        images: what it was trained on, in the order of training.
        held_out: what was kept aside to watch the training and to audit the module.
    """

    module: str
    class_name: str
    options: dict[str, Any]
    images: tuple[ImageName, ...]
    held_out: tuple[ImageName, ...] = ()

    @property
    def used(self) -> tuple[ImageName, ...]:
        """Every image that the module depends on."""
        return self.images + self.held_out


@dataclass(frozen=True)
class Withdrawal:
    """A withdrawal that is under way.

    Attributes:
        modules: own modules that withdrawn images are in, by class.
        reason: goes into the signed statement.
    """

    modules: dict[str, tuple[str, ...]]
    reason: str


def pixels_digest(image: np.ndarray) -> str:
    """SHA-256 of one prepared image, uint8 [H, W, C]."""
    return canonical.sha256_hex(np.ascontiguousarray(image).tobytes())


def store_training_images(home: Home, record: TrainingImages) -> None:
    """Keep a module's list of images."""
    path = home.training_images(record.module)
    write_atomically(path, canonical.dumps(asdict(record)), mode=_MODE)


def training_images(home: Home) -> tuple[TrainingImages, ...]:
    """Return the lists of all own modules that have one, by digest."""
    folder = home.training_images("").parent
    paths = sorted(folder.glob("[0-9a-f]*.json")) if folder.is_dir() else ()
    return tuple(_record(path) for path in paths)


def training_images_of(home: Home, digest: str) -> TrainingImages | None:
    """Return the list of one own module, None if there is none."""
    path = home.training_images(digest)
    return _record(path) if path.is_file() else None


def _record(path: Path) -> TrainingImages:
    value = _read(path)
    images, held_out = (
        tuple(ImageName(**item) for item in value.get(key, ())) for key in ("images", "held_out")
    )
    return TrainingImages(value["module"], value["class_name"], value["options"], images, held_out)


def withdrawn_images(home: Home) -> frozenset[ImageName]:
    """Return every image that was withdrawn at this site."""
    if not home.withdrawn_images.is_file():
        return frozenset()
    return frozenset(ImageName(**item) for item in _read(home.withdrawn_images)["images"])


def withdraw_images(home: Home, images: Iterable[ImageName]) -> None:
    """Add images to those that no module may be trained on."""
    every = sorted(
        {*withdrawn_images(home), *images}, key=lambda item: (item.identifier, item.pixels)
    )
    value = {"images": [asdict(item) for item in every]}
    write_atomically(home.withdrawn_images, canonical.dumps(value), mode=_MODE)


def withdrawn_among(names: Iterable[ImageName], home: Home) -> tuple[bool, ...]:
    """Say of each image whether it was withdrawn here, by its name or by its pixels."""
    withdrawn = withdrawn_images(home)
    identifiers = {item.identifier for item in withdrawn}
    pixels = {item.pixels for item in withdrawn}
    return tuple(item.identifier in identifiers or item.pixels in pixels for item in names)


def store_withdrawal(home: Home, withdrawal: Withdrawal) -> None:
    """Note a withdrawal under way."""
    write_atomically(home.pending_withdrawal, canonical.dumps(asdict(withdrawal)), mode=_MODE)


def read_withdrawal(home: Home) -> Withdrawal | None:
    """Return the withdrawal that is under way, if any."""
    if not home.pending_withdrawal.is_file():
        return None
    value = _read(home.pending_withdrawal)
    return Withdrawal(
        modules={name: tuple(digests) for name, digests in value["modules"].items()},
        reason=value["reason"],
    )


def pending_withdrawal(home: Home) -> frozenset[str]:
    """Return the classes whose new module must not be sent yet: its statement is not signed."""
    withdrawal = read_withdrawal(home)
    return frozenset(withdrawal.modules) if withdrawal else frozenset()


def _read(path: Path) -> Any:
    data = read_bounded(path, _MAX_BYTES, "list of images")
    return canonical.loads(data, max_bytes=_MAX_BYTES, what=path.name)
