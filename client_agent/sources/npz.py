"""MedMNIST-style .npz: `{train,val,test}_images`, `_labels`, optional `_groups`, `class_names`.

The file may come from anywhere: arrays are read without pickle, and every size is checked against
the archive's directory before anything is allocated.
"""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from client_agent.errors import DataError
from client_agent.preparation.depth import to_eight_bits
from client_agent.sources.groups import group_key

MAX_ARRAY_BYTES = 16 * 1024**3
_MAX_SIDE = 4096
_CHUNK = 1 << 20


def read_npz_split(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None]:
    """Read one split.

    Args:
        path: the .npz file.
        split: train, val or test.

    Returns:
        images uint8 [n, H, W, C] with C 1 or 3 (other depths scaled image by image, by
        `preparation.depth.RULES`), labels int64 [n], and the class names if the file has them.

    Raises:
        DataError: damaged, pickled, too large, or not of this layout.
    """
    images, names = _images(path, split)
    return images, _labels(path, split, len(images), names), names


def read_npz_images(path: Path, split: str) -> np.ndarray:
    """Read the images of one split, uint8 [n, H, W, C]; labels need not be there.

    Raises:
        DataError: as for `read_npz_split`.
    """
    return _images(path, split)[0]


def npz_splits(path: Path) -> tuple[str, ...]:
    """Return which of train, val and test a file holds images of.

    Raises:
        DataError: it is no .npz file.
    """
    members = _members(path)
    return tuple(split for split in ("train", "val", "test") if f"{split}_images" in members)


def read_npz_groups(path: Path, split: str, count: int) -> tuple[str, ...]:
    """Read whose images they are, from `{split}_groups`: integers or texts [n] or [n, 1].

    Returns:
        A patient's key for each image, see `groups.group_key`; "" where the array or a text is
        not there.

    Raises:
        DataError: damaged, or not one group an image.
    """
    if f"{split}_groups" not in _members(path):
        return ("",) * count
    groups = _array(path, f"{split}_groups")
    if groups.ndim == 2 and groups.shape[1] == 1:
        groups = groups[:, 0]
    if groups.shape != (count,) or groups.dtype.kind not in "iuUS":
        raise DataError(
            f"{path.name}: {split}_groups are {groups.dtype} of shape {groups.shape}, "
            f"integers or texts of shape ({count},) are needed"
        )
    if groups.dtype.kind == "S":
        groups = np.char.decode(groups, "utf-8", "backslashreplace")
    return tuple(group_key(str(item)) for item in groups.tolist())


def _images(path: Path, split: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    images = _array(path, f"{split}_images")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise DataError(f"{path.name}: {split}_images are of shape {images.shape}")
    if max(images.shape[1:3]) > _MAX_SIDE:
        raise DataError(f"{path.name}: images of {images.shape[1]} x {images.shape[2]} pixels")
    if not len(images):
        raise DataError(f"{path.name}: {split}_images is empty")
    if images.dtype != np.uint8:
        eight = np.empty(images.shape, dtype=np.uint8)
        for index, image in enumerate(images):
            eight[index] = to_eight_bits(image)
        images = eight
    return images, _class_names(path)


def _labels(path: Path, split: str, count: int, names: tuple[str, ...] | None) -> np.ndarray:
    labels = _array(path, f"{split}_labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path.name}: {split}_labels are {labels.dtype} of shape {labels.shape}, "
            f"integers of shape ({count},) or ({count}, 1) are needed"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= (len(names) if names else 1 << 31):
        raise DataError(f"{path.name}: {split}_labels has a label without a class name")
    return labels.astype(np.int64)


def _class_names(path: Path) -> tuple[str, ...] | None:
    if "class_names" not in _members(path):
        return None
    names = _array(path, "class_names")
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(f"{path.name}: class_names is not a list of texts")
    try:
        return tuple(
            name.decode("utf-8") if isinstance(name, bytes) else str(name)
            for name in names.tolist()
        )
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: class_names are not UTF-8") from error


def _members(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except PermissionError as error:
        raise DataError(f"{path.name}: permission denied") from error
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path.name}: damaged .npz file, or none") from error


def _array(path: Path, key: str) -> np.ndarray:
    members = _members(path)
    if key not in members:
        known = ", ".join(sorted(name[:40] for name in members)[:12])
        raise DataError(f"{path.name}: no array {key}", hint=f"it holds: {known}")
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{key}.npy")
            with archive.open(info) as stream:
                return _read_array(stream, info.file_size, f"{path.name}: {key}")
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zip, deflate and header parsers fail in a dozen ways
        raise DataError(f"{path.name}: {key} is damaged ({type(error).__name__})") from error


def _read_array(stream: IO[bytes], size: int, what: str) -> np.ndarray:
    """Read one .npy stream whose archive says that it holds `size` bytes."""
    if size > MAX_ARRAY_BYTES:
        raise DataError(f"{what}: {size} bytes are too many")
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{what}: .npy version {version} is not supported")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(f"{what}: pickled objects are refused", hint="save plain arrays")
    if dtype.kind not in "biufUS" or any(side < 0 for side in shape):
        raise DataError(f"{what}: arrays of {dtype} {shape} do not belong here")
    total = math.prod(shape) * dtype.itemsize
    if total > size:
        raise DataError(f"{what}: truncated, or the header lies about its size")
    buffer = bytearray(total)
    view, done = memoryview(buffer), 0
    while done < total:
        chunk = stream.read(min(_CHUNK, total - done))
        if not chunk:
            raise DataError(f"{what}: truncated")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    if stream.read(1):  # reaching the end also makes zipfile check the CRC-32
        raise DataError(f"{what}: bytes after the array")
    array = np.frombuffer(buffer, dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
