"""Value-of-interest windows (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3) as functions to [0, 1]."""

import numpy as np


def apply_window(
    values: np.ndarray, centre: float, width: float, function: str = "LINEAR"
) -> np.ndarray:
    """Map modality values through one window.

    Args:
        values: any shape, modality units (Hounsfield for CT).
        centre: Window Center (0028,1050), c.
        width: Window Width (0028,1051), w.
        function: VOI LUT Function (0028,1056): LINEAR, LINEAR_EXACT or SIGMOID.

    Returns:
        float64 in [0, 1], same shape.

    Raises:
        ValueError: a width that the standard forbids, or another function.
    """
    x = values.astype(np.float64)
    if function == "LINEAR":
        if width < 1:
            raise ValueError(f"window width {width} is below 1")
        if width == 1:
            return (x > centre - 0.5).astype(np.float64)
        return np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)
    if width <= 0:
        raise ValueError(f"window width {width} is not positive")
    if function == "LINEAR_EXACT":
        return np.clip((x - centre) / width + 0.5, 0.0, 1.0)
    if function == "SIGMOID":
        # exp overflows beyond 709; the curve is flat long before.
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (x - centre) / width, -700.0, 700.0)))
    raise ValueError(f"VOI LUT function {function!r} is unknown")
