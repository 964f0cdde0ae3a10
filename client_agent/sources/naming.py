"""Finding images by what people have at hand: SOP Instance UID, path, or a file's SHA-256."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from client_agent.errors import UsageError
from client_agent.registry.training_images import ImageName
from client_agent.sources.dicom import read_uid
from client_agent.sources.dicomdir import is_dicomdir
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MIB

_MAX_LIST_BYTES = 64 * MIB
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_FRAME = re.compile(r"(.+)#[0-9]+", re.ASCII | re.DOTALL)
_UID = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)


def read_names(path: Path) -> list[str]:
    """Read a list of images, one a line; empty lines and lines that begin with `#` are left out.

    Raises:
        UsageError: it cannot be read, or names nothing.
    """
    try:
        text = read_bounded(path, _MAX_LIST_BYTES, "list of images").decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise UsageError(f"cannot read the list {path}: {error}") from error
    names = [line.strip() for line in text.splitlines()]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise UsageError(f"{path} names no image", hint="one name a line")
    return names


def find_images(
    names: Sequence[str], images: Sequence[ImageName], root: Path | None
) -> dict[str, tuple[ImageName, ...]]:
    """Find the images of one module that are meant.

    Args:
        names: each an identifier as `train` saw it (path below the data, `split/index`, UID), an
            absolute path, a SOP Instance UID, or a SHA-256 of a file or of prepared pixels.
        images: those that the module was trained on; the name of a file means all its frames.
        root: where the files lie, None if that is not known.

    Returns:
        Each name that is known, with its images.
    """
    by_identifier: dict[str, list[ImageName]] = {}
    by_pixels: dict[str, list[ImageName]] = {}
    for image in images:
        by_identifier.setdefault(image.identifier, []).append(image)
        file = _file(image.identifier)
        if file != image.identifier:
            by_identifier.setdefault(file, []).append(image)
        by_pixels.setdefault(image.pixels, []).append(image)
    found: dict[str, tuple[ImageName, ...]] = {}
    files: dict[str, str] | None = None
    for name in names:
        digest = _SHA256.fullmatch(name)
        hits = by_identifier.get(name) or by_identifier.get(_below(name, root))
        if not hits and digest:
            hits = by_pixels.get(digest[1].lower())
        if not hits and (digest or _UID.fullmatch(name)):
            files = _index(images, root) if files is None else files
            key = digest[1].lower() if digest else name
            hits = by_identifier.get(files.get(key, ""))
        if hits:
            found[name] = tuple(hits)
    return found


def _below(name: str, root: Path | None) -> str:
    """The path relative to the data, as `train` writes it."""
    path = Path(name)
    if root is not None and path.is_absolute() and path.is_relative_to(root.absolute()):
        return path.relative_to(root.absolute()).as_posix()
    return path.as_posix()


def _index(images: Sequence[ImageName], root: Path | None) -> dict[str, str]:
    """SOP Instance UID and SHA-256 of each file that is still there, to the image's identifier."""
    index: dict[str, str] = {}
    if root is None or not (root.is_dir() or is_dicomdir(root)):
        return index
    folder = root if root.is_dir() else root.parent  # beside a DICOMDIR
    for name in dict.fromkeys(_file(image.identifier) for image in images):
        path = folder / name
        if not path.is_file():
            continue
        with path.open("rb") as stream:
            index[hashlib.file_digest(stream, "sha256").hexdigest()] = name
        uid = read_uid(path)
        if uid is not None:
            index[uid] = name
    return index


def _file(identifier: str) -> str:
    """The file that a frame is of, as `read_items` names frames."""
    match = _FRAME.fullmatch(identifier)
    return match[1] if match else identifier
