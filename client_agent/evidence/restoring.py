"""How badly a module restores images from noise, at each noise level: numbers a module cannot name.

The noise of an image follows from its pixels alone: what is said of it does not depend on the
images beside it, every module gets the same, and none can know it. A module that knew the noise
would take it away from any image and win every class. The module's denoiser runs confined as the
module does; it is given the noisy image alone, and the error is worked out here.
"""

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import RefusedError
from client_agent.evidence.settings import LEAST_ERROR, LEVELS
from client_agent.module.denoiser import denoiser_model
from client_agent.sandbox.limits import limits_for
from client_agent.sandbox.process import ModelProcess
from client_agent.synthesis.noise import noise
from ff_protocol.spec import FederationSpec

_KEY_BYTES = 16


def restoration_errors(
    module: Path,
    images: NDArray[np.uint8],
    spec: FederationSpec,
    on_progress: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float64]:
    """Return the mean squared error of each restored image.

    Args:
        module: `module.onnx` of an admitted module.
        images: uint8 [n, H, W, C], of the spec's shape.
        spec: for batch size, threads and limits.
        on_progress: called with the number of images done.

    Returns:
        float64 [n, levels], squares of images in [-1, 1].

    Raises:
        RefusedError: it has no denoiser that can be read, fails, or breaks a limit.
    """
    model = denoiser_model(module, LEVELS)
    count = max(1, spec.synthesis.batch_size // len(LEVELS))
    shape = (spec.image.channels, spec.image.size, spec.image.size)
    limits = limits_for(spec, len(model))
    parts: list[NDArray[np.float64]] = []
    with ModelProcess((len(LEVELS) * count, *shape), limits, spec.synthesis.threads) as process:
        process.load_bytes(model)

        def restore(start: int) -> NDArray[np.float64]:
            filled = np.resize(images[start : start + count], (count, *images.shape[1:]))
            batch = _signed(filled)
            added = np.stack([image_noise(image) for image in filled], axis=1)
            noisy = (batch + added).reshape(-1, *shape)
            left = process.run(noisy).reshape(len(LEVELS), count, *shape) - batch
            return np.square(left, dtype=np.float64).mean(axis=(2, 3, 4)).T

        starts = range(0, len(images), count)
        with closing(process.side_by_side(restore, starts)) as batches:
            for part in batches:
                parts.append(part)
                on_progress(min(len(images), count * len(parts)))
    errors = np.concatenate(parts)[: len(images)]
    if not np.isfinite(errors).all():
        raise RefusedError(f"{module.name}: it restores an image to values that are not finite")
    return np.maximum(errors, LEAST_ERROR)


def image_noise(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the noise of an image, uint8 [H, W, C], at every level: float32 [levels, C, H, W]."""
    digest = hashlib.sha256(b"ff-evidence/1" + np.ascontiguousarray(image).data).digest()
    height, width, channels = image.shape
    key = int.from_bytes(digest[:_KEY_BYTES], "little")
    levels = np.array(LEVELS, np.float32)[:, None, None, None]
    return levels * noise(key, 0, len(LEVELS), (channels, height, width))


def _signed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images in [-1, 1], float32 [n, C, H, W]."""
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
