"""The one preparation that every arm of every comparison uses: train, central, predict.

Order: 8 bits, channels, resize with the aspect kept, centred black padding. An image that has the
federation's size and depth already comes out bit for bit as it went in.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation import depth, dicom_rules
from ff_protocol.errors import MalformedError
from ff_protocol.preparation import MIDDLE_FRAME, FrameRule, Window, parse_frame

PREPARATION_VERSION = "2"
"""Changes whenever the same file would yield other pixels."""

_MAX_PIXELS = 1 << 28


def prepare(
    pixels: np.ndarray, *, image_size: int, channels: int, aspect: float = 1.0
) -> np.ndarray:
    """Bring one image to the federation's shape.

    The physically longer side becomes `image_size` by Pillow's bicubic filter, whose support
    widens when shrinking (antialiasing); the shorter side is padded with black on both sides, one
    pixel more at the bottom or right if odd. Anatomy is thus neither stretched nor cut off, as a
    viewer's "fit to window" shows it.

    Args:
        pixels: [H, W] or [H, W, 1..4], bool, integer or floating; see `depth.RULES`.
        image_size: height and width wanted, in pixels.
        channels: 1 or 3.
        aspect: height / width of a pixel.

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
    if image.shape[:2] != (image_size, image_size) or aspect != 1.0:
        image = _pad(_fit(image, image_size, aspect), image_size)
    return np.ascontiguousarray(image)


def _fit(image: np.ndarray, size: int, aspect: float) -> np.ndarray:
    """Resize uint8 [H, W, C] so that the longer side is `size` and pixels are square."""
    from PIL import Image

    height, width = image.shape[:2]
    # Integer rounding, half up: the same on every machine.
    sides = (width << 16, round(height * aspect * (1 << 16)))
    longer = max(sides)
    new = tuple(max(1, (2 * side * size + longer) // (2 * longer)) for side in sides)
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


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which pixels a file becomes; the same for all arms and sites.

    Attributes:
        image_size: height and width, in pixels.
        channels: 1 or 3.
        window: for DICOM; None takes what each file says.
        frame: which frames of a DICOM file are images.
    """

    image_size: int
    channels: int
    window: Window | None = None
    frame: FrameRule = MIDDLE_FRAME


def recipe(
    image_size: int,
    channels: int,
    window: Window | None = None,
    frame: FrameRule = MIDDLE_FRAME,
) -> dict[str, Any]:
    """Describe the preparation as JSON values, to be kept in the classifier's metadata."""
    return {
        "version": PREPARATION_VERSION,
        "image_size": image_size,
        "channels": channels,
        "window": None if window is None else [window.centre, window.width, window.name],
        "frame_rule": str(frame),
        "order": ["depth", "channels", "resize", "pad"],
        "depth": dict(depth.RULES),
        "grey": depth.GREY_RULE,
        "alpha": depth.ALPHA_RULE,
        "aspect": "kept; pixels made square",
        "resampling": "bicubic, antialiased; none if the size matches",
        "padding": "centred, 0",
        "dicom": dicom_rules.describe(window, frame),
    }


def read_recipe(description: dict[str, Any]) -> Recipe:
    """Return the preparation of a classifier's metadata, if this program can repeat it.

    Raises:
        DataError: it was trained on images prepared by other rules.
    """
    try:
        window = description.get("window")
        read = Recipe(
            int(description["image_size"]),
            int(description["channels"]),
            None if window is None else Window(float(window[0]), float(window[1]), str(window[2])),
            parse_frame(str(description.get("frame_rule", "middle"))),
        )
    except (KeyError, TypeError, ValueError, IndexError, MalformedError) as error:
        raise DataError("the classifier does not say how its images were prepared") from error
    if description != recipe(read.image_size, read.channels, read.window, read.frame):
        raise DataError(
            f"the classifier's images were prepared by rules {description.get('version')!r}, "
            f"this program has {PREPARATION_VERSION!r}",
            hint="predict with the version of the program that trained it, or run: ff-agent fit",
        )
    return read


def check_description(description: dict[str, Any]) -> tuple[int, int]:
    """Return (image_size, channels) of `read_recipe`.

    Raises:
        DataError: as `read_recipe`.
    """
    read = read_recipe(description)
    return read.image_size, read.channels
