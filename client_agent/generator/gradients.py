"""Gradients of one batch on the processor: parts of the batch side by side, one thread each.

The layers of a small generator are too short for several threads to share one: on two cores a
thread for each half of the batch trains 1.3 times as many images a second as two threads in every
layer (docs/benchmarks.md). The parts' gradients are added in a fixed order, so the same number of
threads gives the same bits.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

# Below this many images a part leaves its thread idle between layers.
_SMALLEST_PART = 8


class BatchGradients:
    """Fills the gradients of `network` from batches of a fixed size.

    Args:
        network: whose parameters get gradients.
        batch_size: images a batch.
        threads: processor threads to use; 1 on a GPU.
    """

    def __init__(self, network: nn.Module, batch_size: int, threads: int) -> None:
        self._network = network
        parts = max(1, min(threads, batch_size // _SMALLEST_PART))
        self._copies = [network, *(copy.deepcopy(network) for _ in range(parts - 1))]
        self._pool: ThreadPoolExecutor | None = None
        if parts > 1:
            # OpenMP's number of threads belongs to the thread that asks for them.
            self._pool = ThreadPoolExecutor(
                parts, "gradients", lambda: torch.set_num_threads(max(1, threads // parts))
            )

    def fill(self, loss_of: Callable[..., Tensor], *batch: Tensor) -> float:
        """Set every parameter's gradient to that of the mean loss over the batch.

        Args:
            loss_of: called with a copy of the network and a part of each tensor of `batch`; gives
                the mean loss of that part.
            batch: tensors of equal first dimension.

        Returns:
            the mean loss; where it is not finite, so are the gradients.
        """
        count = len(batch[0])
        own: list[Tensor] = list(self._network.parameters())
        if self._pool is None or count < len(self._copies):
            loss = loss_of(self._network, *batch)
            loss.backward()
            return loss.item()
        with torch.no_grad():
            for other in self._copies[1:]:
                torch._foreach_copy_(list(other.parameters()), own)

        def work(part: int) -> float:
            split = [tensor.tensor_split(len(self._copies))[part] for tensor in batch]
            loss = loss_of(self._copies[part], *split) * (len(split[0]) / count)
            loss.backward()
            return loss.item()

        losses = list(self._pool.map(work, range(len(self._copies))))
        for other in self._copies[1:]:
            for mine, theirs in zip(own, other.parameters(), strict=True):
                if theirs.grad is not None:
                    mine.grad = theirs.grad if mine.grad is None else mine.grad.add_(theirs.grad)
                theirs.grad = None
        return sum(losses)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
