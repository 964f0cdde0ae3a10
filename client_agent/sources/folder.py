"""Pictures: PNG, JPEG, TIFF and BMP files through Pillow, upright, decompression bombs refused."""

import warnings
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from client_agent.sources.labelled import RawImage

MAX_PIXELS = 1 << 28
"""Width x height; a slide scanner's file does not belong here and would exhaust the memory."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_DEEP = {"I;16", "I;16B", "I;16L", "I;16N"}


def read_picture(path: Path) -> RawImage:
    """Read one picture: its first page, turned upright by its EXIF orientation.

    Palettes and CMYK become RGB, alpha stays for `prepare`, 16-bit grey stays 16 bits.

    Raises:
        DataError: damaged, truncated, too large or of another format.
        OSError: the file cannot be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise DataError(f"{opened.width} x {opened.height} pixels are too many")
                image = ImageOps.exif_transpose(opened)
                return RawImage(_pixels(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("too many pixels for one image") from error
    except UnidentifiedImageError as error:
        raise DataError("not a PNG, JPEG, TIFF or BMP image") from error
    # Pillow reports damage as any of these, by format; the system's own errors have a number.
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError("damaged or truncated image") from error


def _pixels(image: "Image.Image") -> np.ndarray:  # type: ignore[name-defined]  # noqa: F821
    mode = image.mode
    if mode in _DEEP:
        # NumPy's native order, so that 16 bits compare alike on every machine.
        return np.asarray(image).astype(np.uint16)
    if mode == "I":
        values = np.asarray(image)
        fits = values.min() >= 0 and values.max() <= 0xFFFF
        return values.astype(np.uint16) if fits else values
    if mode in ("L", "RGB", "RGBA", "LA", "F", "1"):
        return np.asarray(image)
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
