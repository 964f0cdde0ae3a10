"""Pixels that are not square: how much taller than wide one is (PS3.3 10.7.1.3, C.7.6.3.1.7)."""

from collections.abc import Sequence
from typing import Any

from client_agent.errors import DataError

SQUARE_WITHIN = 0.01
"""Relative difference below which a pixel counts as square: spacings are rounded decimals."""

MAX_RATIO = 16.0

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


def pixel_aspect(headers: Sequence[Any]) -> float:
    """Return height / width of a pixel, exactly 1.0 for square ones and where nothing is said.

    Args:
        headers: datasets to look into, the nearest to the frame first (Pixel Measures, root).

    Raises:
        DataError: a ratio beyond `MAX_RATIO`: a damaged header, and an image that would vanish.
    """
    for name in _SPACINGS:
        for header in headers:
            ratio = _ratio(header.get(name))
            if ratio is None:
                continue
            if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
                raise DataError(f"pixels {ratio:.3g} times as high as wide are not believed")
            return 1.0 if abs(ratio - 1) <= SQUARE_WITHIN else ratio
    return 1.0


def _ratio(value: Any) -> float | None:
    """Vertical over horizontal: all four attributes name the vertical one first."""
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        return None
    vertical, horizontal = (float(item) for item in value)
    return vertical / horizontal if vertical > 0 and horizontal > 0 else None
