"""Muon: momentum whose matrices are made orthogonal before they are applied.

A step along an orthogonal matrix changes every direction of a layer alike, where a gradient step is
ruled by a few; at small batches and few steps that halves the distance of the samples to the real
images (docs/recipe.md). Sources: K. Jordan and others, "Muon" (2024), for the Newton-Schulz
iteration and its coefficients; Liu and others, arXiv 2502.16982, for the factor that gives a step
the size of AdamW's. torch's own Muon takes matrices only; here a convolution is the matrix of its
output channels against everything else.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from client_agent.generator.presets import Preset

_NEWTON_SCHULZ_STEPS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ADAMW_STEP_SIZE = 0.2
_SMALLEST_SIDE = 16


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum for parameters of two or more dimensions.

    Args:
        parameters: each of at least two dimensions.
        lr: step size, on AdamW's scale.
        momentum: decay of the running gradient.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Apply one step; a parameter without a gradient stays."""
        for group in self.param_groups:
            for values in group["params"]:
                if values.grad is None:
                    continue
                state = self.state[values]
                if not state:
                    state["momentum"] = torch.zeros_like(values)
                running = state["momentum"].lerp_(values.grad, 1 - group["momentum"])
                ahead = values.grad.lerp(running, group["momentum"])
                direction = orthogonalised(ahead.reshape(len(values), -1))
                size = group["lr"] * _ADAMW_STEP_SIZE * max(direction.shape) ** 0.5
                values.add_(direction.reshape(values.shape), alpha=-size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return a matrix of the same singular vectors with singular values of about 1 (0.7 to 1.2).

    Each step of the iteration multiplies by a polynomial of X X^T. These commute, so the product
    is gathered on the short side and applied once: a third of the arithmetic.

    Args:
        matrix: float32 [m, n].
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    identity = torch.eye(len(gram), device=gram.device)
    product = identity
    for _ in range(_NEWTON_SCHULZ_STEPS):
        factor = torch.addmm(a * identity + b * gram, gram, gram, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    wide = product @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def make_optimisers(network: nn.Module, preset: Preset) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside `network` and AdamW for all else.

    The first and last convolutions, biases and normalisations are no matrices in Muon's sense:
    their inputs or outputs are pixels or single numbers. Every group holds its own `peak_lr`.
    """
    inner: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, values in network.named_parameters():
        sides = (len(values), values[0].numel())
        edge = "conv_in" in name or "conv_out" in name
        matrix = values.ndim > 1 and min(sides) >= _SMALLEST_SIDE and not edge
        (inner if matrix else others).append(values)
    adamw = torch.optim.AdamW(
        others,
        lr=preset.adamw_lr,
        betas=(0.9, preset.beta2),
        weight_decay=0.0,
        fused=True,
    )
    optimisers: list[torch.optim.Optimizer] = [adamw]
    if inner:
        optimisers.append(Muon(inner, preset.peak_lr))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    return optimisers
