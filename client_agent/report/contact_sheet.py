"""Contact sheets: rows of synthetic images, one row per class, as a PNG."""

import io
from pathlib import Path

import numpy as np

from ff_protocol.files import write_atomically

_GAP = 2
_TARGET_PIXELS = 48


def contact_sheet(rows: list[np.ndarray], columns: int = 16) -> np.ndarray:
    """Arrange images in a grid.

    Args:
        rows: one array uint8 [n, H, W, C] per class, all of one shape but for n.
        columns: images a row; shorter rows are padded with black.

    Returns:
        uint8 [rows, columns, C], each image enlarged to about 48 px by whole factors.
    """
    height, width, channels = rows[0].shape[1:]
    scale = max(1, round(_TARGET_PIXELS / height))
    cell_height, cell_width = height * scale + _GAP, width * scale + _GAP
    sheet = np.zeros((len(rows) * cell_height, columns * cell_width, channels), dtype=np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images[:columns]):
            enlarged = image.repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = row * cell_height, column * cell_width
            sheet[top : top + height * scale, left : left + width * scale] = enlarged
    return sheet


def write_contact_sheet(
    rows: list[np.ndarray], path: Path, columns: int = 16, mode: int = 0o644
) -> None:
    """Write a contact sheet as PNG; `mode` for one of real images is 0600.

    Raises:
        StorageError: the disk refused.
    """
    from PIL import Image

    sheet = contact_sheet(rows, columns)
    picture = Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    write_atomically(path, buffer.getvalue(), mode=mode)
