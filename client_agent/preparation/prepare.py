"""The one preparation that every arm of every comparison uses: train, central, predict.

Order: 8 bits, channels, resize with the aspect kept, centred black padding. An image that has the
federation's size and depth already comes out bit for bit as it went in.
"""

from typing import Any

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation import depth, dicom_rules

PREPARATION_VERSION = "1"
"""Changes whenever the same file would yield other pixels."""

_MAX_PIXELS = 1 << 28


def prepare(pixels: np.ndarray, *, image_size: int, channels: int) -> np.ndarray:
    """Bring one image to the federation's shape.

    The longer side becomes `image_size` by Pillow's bicubic filter, whose support widens when
    shrinking (antialiasing); the shorter side is padded with black on both sides, one pixel more
    at the bottom or right if odd. Anatomy is thus neither stretched nor cut off, as a viewer's
    "fit to window" shows it.

    Args:
        pixels: [H, W] or [H, W, 1..4], bool, integer or floating; see `depth.RULES`.
        image_size: height and width wanted, in pixels.
        channels: 1 or 3.

    Returns:
        uint8 [image_size, image_size, channels].

    Raises:
        DataError: no such image: empty, too large, not finite or of another shape.
    """
    if channels not in (1, 3):
        raise ValueError("channels is 1 or 3")
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise DataError(f"pixels of shape {pixels.shape} are not an image")
    if pixels.shape[0] * pixels.shape[1] > _MAX_PIXELS:
        raise DataError(f"{pixels.shape[0]} x {pixels.shape[1]} pixels are too many")
    image = depth.to_channels(depth.to_eight_bits(pixels), channels)
    if image.shape[:2] != (image_size, image_size):
        image = _pad(_fit(image, image_size), image_size)
    return np.ascontiguousarray(image)


def _fit(image: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, W, C] so that the longer side is `size`."""
    from PIL import Image

    height, width = image.shape[:2]
    longer = max(height, width)
    # Integer rounding, half up: the same on every machine.
    new = tuple(max(1, (2 * side * size + longer) // (2 * longer)) for side in (width, height))
    if new == (width, height):
        return image
    flat = image[..., 0] if image.shape[2] == 1 else image
    resized = Image.fromarray(np.ascontiguousarray(flat)).resize(new, Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(new[1], new[0], image.shape[2])


def _pad(image: np.ndarray, size: int) -> np.ndarray:
    top, left = (size - image.shape[0]) // 2, (size - image.shape[1]) // 2
    padded = np.zeros((size, size, image.shape[2]), dtype=np.uint8)
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded


def describe_preparation(image_size: int, channels: int) -> dict[str, Any]:
    """Describe the preparation as JSON values, to be kept in the classifier's metadata."""
    return {
        "version": PREPARATION_VERSION,
        "image_size": image_size,
        "channels": channels,
        "order": ["depth", "channels", "resize", "pad"],
        "depth": dict(depth.RULES),
        "grey": depth.GREY_RULE,
        "alpha": depth.ALPHA_RULE,
        "aspect": "kept",
        "resampling": "bicubic, antialiased; none if the size matches",
        "padding": "centred, 0",
        "dicom": dict(dicom_rules.RULES),
    }


def check_description(description: dict[str, Any]) -> tuple[int, int]:
    """Return (image_size, channels) of a classifier whose preparation this program can repeat.

    Raises:
        DataError: it was trained on images prepared by other rules.
    """
    try:
        size, channels = int(description["image_size"]), int(description["channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("the classifier does not say how its images were prepared") from error
    if description != describe_preparation(size, channels):
        raise DataError(
            f"the classifier's images were prepared by rules {description.get('version')!r}, "
            f"this program has {PREPARATION_VERSION!r}",
            hint="predict with the version of the program that trained it, or run: ff-agent fit",
        )
    return size, channels
