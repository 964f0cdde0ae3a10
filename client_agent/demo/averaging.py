"""Rounds of averaging: weights down, local work at every site, weights up, their mean.

FedAvg is McMahan et al., arXiv 1602.05629, algorithm 1 with every client in every round. What a
site does between down and up is somebody else's: `LocalWork` is the seam at which the comparison
arms (FedAvg here, FedProx and SCAFFOLD in benchmarks/arms) differ.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

MOST_LOCAL_EPOCHS = 5
IMAGES_PER_ROUND = 20_000

State = dict[str, torch.Tensor]


class LocalWork(Protocol):
    """What the sites do in a round, and what travels beside the weights."""

    def down(self) -> State:
        """Return what every site gets beside the weights; may be empty."""

    def train(self, number: int, site: int, network: nn.Module) -> State:
        """Train `network` in place in round `number`; return what goes up beside the weights."""

    def collect(self, sent_up: Sequence[State]) -> None:
        """Take in what the sites sent beside the weights, in their order."""


def average_rounds(
    network: nn.Module,
    sizes: Sequence[int],
    rounds: int,
    work: LocalWork,
    after_round: Callable[[int], None] = lambda number: None,
    after_site: Callable[[float], None] = lambda share: None,
) -> int:
    """Run `rounds` rounds; `network` starts them and holds the mean after each.

    Running statistics of normalisations are averaged like weights.

    Args:
        network: the common model, changed in place.
        sizes: number of images of each site: its weight in the mean.
        rounds: communication rounds.
        work: local training.
        after_round: called with the number of the finished round, from 0.
        after_site: called with the share of all work done, 0 to 1.

    Returns:
        bytes that one site sent and received: the tensors in safetensors form, down and up.
    """
    travelled = 0
    for number in range(rounds):
        sent_down = save_tensors(plain(network.state_dict()))
        beside_down = save_tensors(plain(work.down()))
        sent_up, beside_up = [], []
        for site in range(len(sizes)):
            network.load_state_dict(load_tensors(sent_down))
            beside_up.append(save_tensors(plain(work.train(number, site, network))))
            sent_up.append(save_tensors(plain(network.state_dict())))
            after_site((number + (site + 1) / len(sizes)) / rounds)
        network.load_state_dict(weighted_mean([load_tensors(sent) for sent in sent_up], sizes))
        work.collect([load_tensors(sent) for sent in beside_up])
        travelled += len(sent_down) + max(map(len, sent_up))
        if work.down():
            travelled += len(beside_down) + max(map(len, beside_up))
        after_round(number)
    return travelled


def state_bytes(network: nn.Module) -> int:
    """Return the size of a network as it travels."""
    return len(save_tensors(plain(network.state_dict())))


def local_epochs_for(sizes: Sequence[int]) -> int:
    """Return passes in a round: five, fewer where a round would take minutes."""
    return max(1, min(MOST_LOCAL_EPOCHS, IMAGES_PER_ROUND // sum(sizes)))


def weighted_mean(states: Sequence[State], weights: Sequence[int]) -> State:
    """Return the mean of `states` with shares proportional to `weights`, summed in float64.

    Counters (integer tensors) are averaged and rounded.
    """
    total = sum(weights)
    result = {}
    for name, first in states[0].items():
        mean = sum(
            (
                state[name].double() * (weight / total)
                for state, weight in zip(states, weights, strict=True)
            ),
            torch.zeros(first.shape, dtype=torch.float64),
        )
        result[name] = (mean if first.is_floating_point() else mean.round()).to(first.dtype)
    return result


def plain(state: State) -> State:
    """Return detached contiguous tensors, the only ones that the safetensors format holds."""
    return {name: values.detach().contiguous() for name, values in state.items()}
