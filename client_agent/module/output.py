"""What a module's images must be, whatever they show: finite, in range, varied."""

import numpy as np

from client_agent.errors import RefusedError
from ff_protocol.manifest import MODULE_FILE

_MIN_SPREAD = 1e-3
_RANGE_SLACK = 1e-3


def check_output(images: np.ndarray) -> None:
    """Check raw images as a module returns them.

    Args:
        images: float32 [n, C, H, W], n >= 2.

    Raises:
        RefusedError: not finite, out of range, constant, or all images alike.
    """
    if not np.isfinite(images).all():
        raise _refused("output_not_finite", "are not finite")
    if images.min() < -_RANGE_SLACK or images.max() > 1.0 + _RANGE_SLACK:
        raise _refused("output_range", "leave the range 0 to 1")
    if float(images.std(axis=(1, 2, 3)).max()) < _MIN_SPREAD:
        raise _refused("output_constant", "are constant")
    if float(images.std(axis=0).max()) < _MIN_SPREAD:
        raise _refused("output_alike", "are all alike")


def _refused(code: str, fault: str) -> RefusedError:
    return RefusedError(f"{MODULE_FILE}: its images {fault}", refusal_code=code)
