"""What the generator itself knows about an image: attack scores of training and held-out images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from client_agent.generator.training import TrainedGenerator


@dataclass(frozen=True, eq=False)
class DenoisingLosses:
    """Per-image scores of membership attacks on the network; higher means more like a member.

    Attributes:
        training: by attack, float64 [n], in the order of the training images.
        held_out: by attack, float64 [m], in the order of the held-out images.
    """

    training: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]


def denoising_losses(
    trained: "TrainedGenerator",
    training: np.ndarray,
    held_out: np.ndarray,
    *,
    seed: int,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> DenoisingLosses:
    """Attack the network behind a module with the images of both sides, the same noise for both.

    Args:
        trained: the generator.
        training, held_out: uint8 [n, H, W, C] and [m, H, W, C].
        seed: of the noise.
        on_progress: called with the fraction done, 0 to 1.
    """
    raise NotImplementedError
