"""Watching for memorisation: the denoising loss of images that are not trained on.

The loss of training images falls for as long as training lasts. That of unseen images falls with
it while the generator learns the class, and rises once it learns the images instead (Yoon et al.,
"Diffusion Probabilistic Models Generalize when They Fail to Memorize", SPIGM at ICML 2023). So the
weights that are kept are those of the lowest held-out loss, and training ends when that loss has
risen for good.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.network import denoising_loss, draw_sigma
from client_agent.generator.presets import Preset

# Noisy images that one evaluation takes the loss over.
_DRAWS = 128
# An image costs a third of what it costs in training, so watching takes about 2 % of the time.
_TRAINED_PER_DRAW = 17
# The rise is final when a quarter of all evaluations, at the end, stayed so far above the lowest.
_RISE = 1.02
_WINDOW_SHARE = 4
_LEAST_WINDOW = 3


@dataclass(frozen=True)
class CurvePoint:
    """A moment of a run.

    Attributes:
        step: steps done.
        seconds: training time so far.
        loss: smoothed denoising loss of training images.
        held_out_loss: of the averaged weights on held-out images; None where there are none.
    """

    step: int
    seconds: float
    loss: float
    held_out_loss: float | None


def held_out_loss(point: CurvePoint) -> float:
    """Return a point's held-out loss, infinity where there is none."""
    return math.inf if point.held_out_loss is None else point.held_out_loss


class HeldOutLoss:
    """The denoising loss under fixed noise: from one evaluation to the next only weights differ.

    Args:
        images: held-out images, uint8 [m, C, H, W]; the first 128 count.
        gaussian: of the training images, on `device`.
        preset: recipe; noise levels are drawn as in training.
        device: where to compute.
        seed: of noise and noise levels; torch's global state is moved.
    """

    def __init__(
        self,
        images: Tensor,
        gaussian: ClassGaussian,
        preset: Preset,
        device: torch.device,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self._gaussian = gaussian
        chosen = images[torch.arange(_DRAWS) % len(images)]
        centred = chosen.to(device).float() / 127.5 - 1 - gaussian.mean
        # Shuffled, because an image that is drawn again should meet another noise level.
        sigma = gaussian.sigma_data * draw_sigma(_DRAWS, preset)[torch.randperm(_DRAWS)].to(device)
        noise = torch.randn(centred.shape).to(device)
        size = preset.batch_size
        self._batches = list(
            zip(centred.split(size), sigma.split(size), noise.split(size), strict=True)
        )

    @torch.no_grad()
    def of(self, network: nn.Module) -> float:
        """Return the loss of F; as in training, 1 is what the best linear denoiser leaves."""
        total = 0.0
        for centred, sigma, noise in self._batches:
            value = denoising_loss(network, self._gaussian, centred, sigma, noise)
            total += value.item() * len(centred)
        return total / _DRAWS


def evaluation_interval(preset: Preset) -> int:
    """Return the number of steps between two evaluations."""
    return math.ceil(_TRAINED_PER_DRAW * _DRAWS / preset.batch_size)


def memorises(curve: Sequence[CurvePoint]) -> bool:
    """Say whether the held-out loss has risen for good: the last quarter stayed above the lowest.

    Args:
        curve: so far, one point an evaluation.
    """
    losses = [held_out_loss(point) for point in curve]
    window = max(_LEAST_WINDOW, math.ceil(len(losses) / _WINDOW_SHARE))
    return len(losses) > window and min(losses[-window:]) > _RISE * min(losses)


def curve_values(curve: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """Return the curve as JSON values."""
    return [
        {
            "step": point.step,
            "seconds": round(point.seconds, 3),
            "loss": round(point.loss, 6),
            "held_out_loss": None if point.held_out_loss is None else round(point.held_out_loss, 6),
        }
        for point in curve
    ]
