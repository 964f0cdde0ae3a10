"""Contact sheets inside the page: PNG as a data URI."""

import base64
import io

import numpy as np

from client_agent.report.contact_sheet import contact_sheet

COLUMNS = 12
ROWS = 2


def evenly(images: np.ndarray, count: int = COLUMNS * ROWS) -> np.ndarray:
    """Choose `count` images (or all) spread evenly over `images`, uint8 [n, H, W, C]."""
    if len(images) <= count:
        return images
    return images[np.linspace(0, len(images) - 1, count).astype(np.int64)]


def data_uri(images: np.ndarray) -> str:
    """Return up to two rows of images, uint8 [n, H, W, C], as one PNG in a data URI."""
    from PIL import Image

    chosen = evenly(images)
    rows = [chosen[start : start + COLUMNS] for start in range(0, len(chosen), COLUMNS)]
    sheet = contact_sheet(rows, min(COLUMNS, len(chosen)))
    picture = Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
