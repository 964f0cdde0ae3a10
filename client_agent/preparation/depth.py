"""Pixel values of any depth to 8 bits, and between grey and colour, by stated rules.

DICOM pixels come here already windowed (`dicom_pixels`); these rules serve PNG, TIFF and the like,
whose files say nothing of what their numbers mean.
"""

import numpy as np

from client_agent.errors import DataError

RULES = {
    "uint8": "as stored",
    "bool": "0 and 255",
    "unsigned": "0..4095 -> 0..255 if no value is larger, else 0..65535 -> 0..255",
    "float": "0..1 -> 0..255 if no value is outside, else minimum..maximum -> 0..255",
    "signed": "minimum..maximum -> 0..255",
}
GREY_RULE = "ITU-R BT.601 luma: (299 R + 587 G + 114 B) / 1000"
ALPHA_RULE = "over black"

_TWELVE_BITS = 4095
_SIXTEEN_BITS = 65535


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scale to uint8 by `RULES`; the whole array shares one range.

    Twelve bits are tried first because detectors deliver 12 bits inside 16-bit files: taken at
    full range, such a radiograph would be black to the eye and to a network.

    Args:
        pixels: bool, integer or floating, any shape.

    Returns:
        uint8, same shape.

    Raises:
        DataError: not numbers, or not finite.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind not in "iuf":
        raise DataError(f"pixels of type {pixels.dtype} are not numbers")
    if not np.isfinite(pixels).all():
        raise DataError("pixels hold values that are not finite")
    low, high = _range(pixels)
    if high <= low:
        return np.zeros(pixels.shape, dtype=np.uint8)
    scaled = (pixels.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _range(pixels: np.ndarray) -> tuple[float, float]:
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f":
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    if pixels.dtype.kind == "u" and high <= _SIXTEEN_BITS:
        return 0.0, float(_TWELVE_BITS if high <= _TWELVE_BITS else _SIXTEEN_BITS)
    return low, high


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 [H, W] or [H, W, 1..4] to uint8 [H, W, channels].

    Two and four channels end in alpha, laid over black: radiology's background. Grey becomes
    colour by repetition, colour becomes grey by `GREY_RULE`.

    Raises:
        DataError: another shape.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise DataError(f"pixels of shape {pixels.shape} are neither grey nor colour")
    if pixels.shape[2] in (2, 4):
        colour, alpha = pixels[..., :-1].astype(np.uint32), pixels[..., -1:].astype(np.uint32)
        pixels = ((colour * alpha + 127) // 255).astype(np.uint8)
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    weighted = pixels.astype(np.uint32) @ np.array([299, 587, 114], dtype=np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)[..., None]
