"""Watching for memorisation while a generator is trained, on images that are not trained on.

Two things are watched, both on the averaged weights:

- The denoising loss of held-out images. That of training images falls for as long as training
  lasts; that of unseen ones falls with it while the generator learns the class and rises once it
  learns the images instead (Yoon et al., "Diffusion Probabilistic Models Generalize when They Fail
  to Memorize", SPIGM at ICML 2023).
- How well the network tells both apart. Long before the loss rises the network knows its images,
  the sooner the fewer they are. It moves an image that it has learnt less (SimA, arXiv 2509.25003),
  the strongest of the attacks by which the audit judges a module; so training ends where the site's
  policy would refuse what comes of it.

The weights that are kept are those of the lowest held-out loss among those that stay below the
bound on membership.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from client_agent.audit.intervals import auc
from client_agent.audit.thresholds import harmlessness_is_to_be_shown
from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.network import denoising_loss, draw_sigma, network_inputs
from client_agent.generator.presets import Preset

# Noisy images that one evaluation takes the loss over; images of each side that are told apart.
_DRAWS = 64
_SIDE = 64
# The attack's noise level, in units of sigma_data.
_LEVEL = 0.4
# An image costs a third of what it costs in training: watching takes 2.7 % of the time.
_TRAINED_PER_PASS = 12
# A rise of the loss is final when a quarter of all evaluations, at the end, stayed so far above the
# lowest; membership, which hardly ever falls again, when two were above the bound.
_RISE = 1.02
_WINDOW_SHARE = 4
_LEAST_WINDOW = 3
_ABOVE = 2


@dataclass(frozen=True)
class CurvePoint:
    """A moment of a run.

    Attributes:
        step: steps done.
        seconds: training time so far.
        loss: smoothed denoising loss of training images.
        held_out_loss: of the averaged weights on held-out images; None where there are none.
        membership: end of the attack's AUC's interval that an audit of the whole class would judge;
            None likewise.
    """

    step: int
    seconds: float
    loss: float
    held_out_loss: float | None = None
    membership: float | None = None


class Watch:
    """Held-out loss and membership under fixed noise: between evaluations only weights differ.

    Args:
        training: what is trained on, uint8 [n, C, H, W]; 64 of them count.
        held_out: what is not, uint8 [m, C, H, W]; the first 64 count.
        gaussian: of the training images, on `device`.
        preset: recipe; noise levels are drawn as in training.
        device: where to compute.
        seed: of noise and noise levels; torch's global state is moved.
    """

    def __init__(
        self,
        training: Tensor,
        held_out: Tensor,
        gaussian: ClassGaussian,
        preset: Preset,
        device: torch.device,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self._gaussian = gaussian
        self._counts = len(training), len(held_out)
        self._size = preset.batch_size

        def centred(images: Tensor) -> Tensor:
            return images.to(device).float() / 127.5 - 1 - gaussian.mean

        self._clean = centred(held_out[torch.arange(_DRAWS) % len(held_out)])
        # Shuffled, because an image that is drawn again should meet another noise level.
        levels = draw_sigma(_DRAWS, preset)[torch.randperm(_DRAWS)]
        self._sigma = gaussian.sigma_data * levels.to(device)
        self._noise = torch.randn(self._clean.shape).to(device)
        side = min(_SIDE, *self._counts)
        spaced = torch.arange(side) * len(training) // side
        self._sides = torch.cat([centred(training[spaced]), centred(held_out[:side])])

    @property
    def passes(self) -> int:
        """Images that one evaluation sends through the network."""
        return len(self._clean) + len(self._sides)

    @torch.no_grad()
    def loss(self, network: nn.Module) -> float:
        """Return F's loss; as in training, 1 is what the best linear denoiser leaves."""
        total = 0.0
        for part in torch.arange(_DRAWS).split(self._size):
            clean, sigma, noise = self._clean[part], self._sigma[part], self._noise[part]
            value = denoising_loss(network, self._gaussian, clean, sigma, noise)
            total += value.item() * len(part)
        return total / _DRAWS

    @torch.no_grad()
    def membership(self, network: nn.Module) -> float:
        """Return what the audit judges, as if all images had been attacked.

        Returns:
            the lower end of the interval of the attack's AUC; the upper one for the smallest
            classes, of which it has to be shown that the attack does not work.
        """
        sigma = torch.full((1,), _LEVEL * self._gaussian.sigma_data, device=self._sides.device)
        moved = []
        for clean in self._sides.split(self._size):
            estimate = self._gaussian.estimate(clean, sigma)
            inputs, c_noise = network_inputs(self._gaussian, clean, estimate, sigma)
            denoised = estimate + self._gaussian.error(sigma) * network(inputs, c_noise)
            moved.append((denoised - clean).square().mean((1, 2, 3)))
        members, others = torch.cat(moved).double().cpu().numpy().reshape(2, -1)
        low, high = expected_interval(auc(-members, -others), *self._counts)
        return high if harmlessness_is_to_be_shown(self._counts[0]) else low


def expected_interval(value: float, members: int, others: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC of `value` (Hanley and McNeil, Radiology 143, 1982).

    Unlike DeLong's (client_agent/audit/intervals.py) it needs no scores, so it can be told of more
    images than were attacked.
    """
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value)
    variance += (members - 1) * (q1 - value**2) + (others - 1) * (q2 - value**2)
    margin = 1.96 * math.sqrt(max(variance, 0.0) / (members * others))
    return value - margin, value + margin


def evaluation_interval(preset: Preset, passes: int = _DRAWS) -> int:
    """Return the number of steps between two evaluations of so many images."""
    return math.ceil(_TRAINED_PER_PASS * passes / preset.batch_size)


def merit(point: CurvePoint, most_membership: float | None) -> tuple[bool, float]:
    """Return what orders moments, the best one first."""
    if _above(point, most_membership):
        return True, float(point.membership or 0.0)
    return False, math.inf if point.held_out_loss is None else point.held_out_loss


def memorises(curve: Sequence[CurvePoint], most_membership: float | None = None) -> bool:
    """Say whether training has come to memorise for good.

    Args:
        curve: so far, one point an evaluation.
        most_membership: bound on `CurvePoint.membership`; None: that is not judged.
    """
    if len(curve) >= _ABOVE and all(_above(item, most_membership) for item in curve[-_ABOVE:]):
        return True
    losses = [item.held_out_loss for item in curve if item.held_out_loss is not None]
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


def _above(point: CurvePoint, most_membership: float | None) -> bool:
    if most_membership is None or point.membership is None:
        return False
    return point.membership > most_membership
