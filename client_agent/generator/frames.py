"""Turned and mirrored images, so that a small class lasts longer before it is learnt by heart.

Non-leaking augmentation (Karras et al., arXiv 2206.00364, appendix F.2): the network is told which
of the eight turns of a square it sees, and modules are sampled upright, so that nothing turned ever
comes out. The Gaussian is that of upright images: what is turned are the network's inputs and what
it has to say.

While images are fresh, turning them only takes steps away. So it begins after as many passes over
the class as are made before one is learnt by heart, and grows from there (docs/recipe.md).
"""

import torch
from torch import Tensor

FRAMES = 8
"""Turns of a square: by 0, 90, 180, 270 degrees, each also mirrored. 0 is upright."""

FRESH_PASSES = 40.0
"""Passes over the class in which all images are upright."""

GROWTH = 0.05
"""How much the share of turned images grows in a pass after these."""

MOST_TURNED = 0.6
"""Largest share of turned images."""


def turned_share(step: int, batch_size: int, images: int) -> float:
    """Return the share of images to turn in a step, 0 to MOST_TURNED.

    Args:
        step: steps done.
        batch_size: images a step.
        images: of the class.
    """
    passes = step * batch_size / images
    return min(MOST_TURNED, max(0.0, GROWTH * (passes - FRESH_PASSES)))


def draw_frames(count: int, share: float, device: torch.device | str = "cpu") -> Tensor:
    """Draw a frame for each image, int64 [count]: upright but for about `share` of them."""
    turned = torch.rand(count, device=device) < share
    return torch.randint(1, FRAMES, (count,), device=device) * turned


def turn(images: Tensor, frames: Tensor) -> Tensor:
    """Return each image in its frame.

    Args:
        images: [n, C, H, H].
        frames: int64 [n], 0 to FRAMES - 1.
    """
    result = images.clone()
    for frame in range(1, FRAMES):
        members = (frames == frame).nonzero()[:, 0]
        turned = torch.rot90(images[members], frame % 4, (2, 3))
        result[members] = turned.flip(3) if frame >= FRAMES // 2 else turned
    return result
