"""DP-SGD's gradients: each image's own gradient, clipped, summed, and noise added once.

Algorithm 1 of Abadi et al. (arXiv 1607.00133) with the noise multiplicity of Dockhorn et al.,
"Differentially Private Diffusion Models" (arXiv 2210.09929): an image's loss is the mean over
several noise levels, which lowers the variance of its gradient and costs no privacy.

An image's draws are one small batch with a backward pass of its own. That makes the clipping plain
to see and to test, and costs no more than a batch over all images, since its small batch fills a
thread. (The per-sample gradients of Opacus 1.6's hooks are wrong for our channels-last
convolutions: a test compared them.)
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from client_agent.generator.gradients import NetworkCopies
from client_agent.generator.privacy import PrivacyPlan

NOISE_MULTIPLICITY = 4
"""Noise levels an image and step."""


class PrivateGradients:
    """Fills the gradients of `network` with the privatised mean over a Poisson sample.

    Args:
        network: whose parameters get gradients.
        plan: bound, noise and expected size of a batch.
        threads: processor threads to use; 1 on a GPU.
    """

    def __init__(self, network: nn.Module, plan: PrivacyPlan, threads: int) -> None:
        self._network = network
        self._plan = plan
        self._copies = NetworkCopies(network, max(1, threads), threads)

    def fill(self, loss_of: Callable[..., Tensor], *batch: Tensor) -> float:
        """Set every parameter's gradient to (sum of clipped gradients + noise) / expected size.

        Args:
            loss_of: called with a copy of the network and the draws of one image; gives their mean
                loss.
            batch: tensors [b, NOISE_MULTIPLICITY, ...]; b may be 0.

        Returns:
            the mean loss, which is not private; 0 for an empty batch.
        """
        copies = self._copies.all
        shares = torch.arange(len(batch[0])).tensor_split(len(copies))

        def work(part: int) -> tuple[list[Tensor], float]:
            network = copies[part]
            sums = [torch.zeros_like(values) for values in network.parameters()]
            losses = 0.0
            for index in shares[part].tolist():
                loss = loss_of(network, *(tensor[index] for tensor in batch))
                loss.backward()
                losses += loss.item()
                add_clipped(sums, network, self._plan.max_grad_norm)
            return sums, losses

        results = self._copies.run(work)
        deviation = self._plan.noise_multiplier * self._plan.max_grad_norm
        for values, *parts in zip(
            self._network.parameters(), *(sums for sums, _ in results), strict=True
        ):
            noise = torch.normal(0.0, deviation, values.shape, device=values.device)
            values.grad = (sum(parts, noise)) / self._plan.expected_batch
        return sum(losses for _, losses in results) / max(1, len(batch[0]))

    def close(self) -> None:
        """End the threads."""
        self._copies.close()


def add_clipped(sums: list[Tensor], network: nn.Module, max_norm: float) -> None:
    """Scale the network's gradient to a norm of at most `max_norm`, add it to `sums`, clear it.

    A gradient that is not finite counts as zero: it would undo the bound.
    """
    gradients = [
        torch.zeros_like(values) if values.grad is None else values.grad
        for values in network.parameters()
    ]
    norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))
    scale = float(max_norm / max(float(norm), max_norm)) if bool(norm.isfinite()) else 0.0
    for total, gradient in zip(sums, gradients, strict=True):
        if scale:
            total.add_(gradient, alpha=scale)
    network.zero_grad(set_to_none=True)
