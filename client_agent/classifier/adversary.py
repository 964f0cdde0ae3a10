"""The gradient of a batch as it is and as an adversary shows it: the fast gradient sign method.

Synthetic images carry a generator's faint marks, and a classifier that only ever sees synthetic
ones leans on them where they tell classes apart; a real image has none. A step of one grey level
against the network takes such marks away before they are worth learning, and leaves what a person
would see. Source: Goodfellow, Shlens and Szegedy, arXiv 1412.6572, section 5, with equal weight for
the images as they are.
"""

from collections.abc import Callable

from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def add_gradient(
    network: Callable[[Tensor], Tensor], batch: Tensor, truth: Tensor, loss: Loss, limit: float
) -> float:
    """Add the gradient of the mean of both losses to the network's parameters.

    Args:
        network: pixels [b, H, W, C] of 0..255 to scores [b, classes].
        batch: uint8 [b, H, W, C].
        truth: int64 [b].
        loss: of scores and truth, a scalar.
        limit: most that a pixel is changed, in grey levels of 255. At 0 nothing is changed, and the
            gradient is that of the batch as it is, in half the time.

    Returns:
        the loss of the batch as it is.
    """
    pixels = batch.float().requires_grad_(limit > 0)
    plain = loss(network(pixels), truth)
    if not limit:
        plain.backward()
        return plain.item()
    (0.5 * plain).backward()
    assert pixels.grad is not None
    changed = (pixels.detach() + limit * pixels.grad.sign()).clamp(0, 255)
    (0.5 * loss(network(changed), truth)).backward()
    return plain.item()
