"""Gradients of one batch on the processor: parts of the batch side by side, one thread each.

The layers of a small generator are too short for several threads to share one: on two cores a
thread for each half of the batch trains 1.3 times as many images a second as two threads in every
layer (docs/recipe.md). The parts' gradients are added in a fixed order, so the same number of
threads gives the same bits.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn

# Below this many images a part leaves its thread idle between layers.
_SMALLEST_PART = 8

Result = TypeVar("Result")


class NetworkCopies:
    """A network and its copies, each with a thread of its own.

    Args:
        network: the first of them: the one that is trained.
        parts: how many in all.
        threads: processor threads to share out.
    """

    def __init__(self, network: nn.Module, parts: int, threads: int) -> None:
        self.all = [network, *(copy.deepcopy(network) for _ in range(parts - 1))]
        self._pool: ThreadPoolExecutor | None = None
        if parts > 1:
            # OpenMP's number of threads belongs to the thread that asks for them.
            self._pool = ThreadPoolExecutor(
                parts, "gradients", lambda: torch.set_num_threads(max(1, threads // parts))
            )

    def run(self, work: Callable[[int], Result]) -> list[Result]:
        """Give the copies the network's weights; return `work(part)` of each, side by side."""
        with torch.no_grad():
            for other in self.all[1:]:
                torch._foreach_copy_(list(other.parameters()), list(self.all[0].parameters()))
        if self._pool is None:
            return [work(0)]
        return list(self._pool.map(work, range(len(self.all))))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class BatchGradients:
    """Fills the gradients of `network` from batches of a fixed size.

    Args:
        network: whose parameters get gradients.
        batch_size: images a batch.
        threads: processor threads to use; 1 on a GPU.
    """

    def __init__(self, network: nn.Module, batch_size: int, threads: int) -> None:
        parts = max(1, min(threads, batch_size // _SMALLEST_PART))
        self._network = network
        self._copies = NetworkCopies(network, parts, threads)

    def fill(self, loss_of: Callable[..., Tensor], *batch: Tensor) -> float:
        """Set every parameter's gradient to that of the mean loss over the batch.

        Args:
            loss_of: called with a copy of the network and a part of each tensor of `batch`; gives
                the mean loss of that part.
            batch: tensors of equal first dimension.

        Returns:
            the mean loss; where it is not finite, so are the gradients.
        """
        count, copies = len(batch[0]), self._copies.all
        if len(copies) == 1 or count < len(copies):
            loss = loss_of(self._network, *batch)
            loss.backward()
            return loss.item()

        def work(part: int) -> float:
            split = [tensor.tensor_split(len(copies))[part] for tensor in batch]
            loss = loss_of(copies[part], *split) * (len(split[0]) / count)
            loss.backward()
            return loss.item()

        losses = self._copies.run(work)
        for other in copies[1:]:
            for mine, theirs in zip(self._network.parameters(), other.parameters(), strict=True):
                if theirs.grad is not None:
                    mine.grad = theirs.grad if mine.grad is None else mine.grad.add_(theirs.grad)
                theirs.grad = None
        return sum(losses)

    def close(self) -> None:
        """End the threads."""
        self._copies.close()
