"""Local solvers of FedProx and SCAFFOLD, as changes to the steps of the product's training loop.

Images, order, augmentation and loss are those of every other arm, because the loop is; only what a
step does to the weights differs. It is changed by a hook that torch calls before an optimiser's
step, with the gradients in place.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from client_agent.demo.averaging import LocalWork, State, weighted_mean

Local = Callable[[int, int, nn.Module], object]
"""(round, site, network): make the site's passes of the round with some torch optimiser."""

_CONTROL = "control."


class FedProx:
    """FedProx (Li et al., arXiv 1812.06127): the local loss gains mu/2 |w - w_round|^2.

    The paper leaves the local solver free; here it is the recipe's own, and the proximal term
    enters through its gradient.

    Args:
        work: local training that travels with nothing but the weights.
        mu: strength of the proximal term; 0 is FedAvg.
    """

    def __init__(self, work: LocalWork, mu: float) -> None:
        self._work, self.mu = work, mu

    def down(self) -> State:
        """Send nothing but the weights."""
        return {}

    def train(self, number: int, site: int, network: nn.Module) -> State:
        """Train with the proximal term in every gradient."""
        weights = list(network.parameters())
        start = [values.detach().clone() for values in weights]

        @torch.no_grad()
        def pull_back() -> None:
            for values, anchor in zip(weights, start, strict=True):
                if values.grad is not None:
                    values.grad.add_(values - anchor, alpha=self.mu)

        with before_each_step(pull_back):
            return self._work.train(number, site, network)

    def collect(self, sent_up: Sequence[State]) -> None:
        """Nothing came."""


class Scaffold:
    """SCAFFOLD (Karimireddy et al., arXiv 1910.06378), algorithm 1 with option II.

    Site i corrects every step by the control variates c (server) and c_i (its own),
    y_i <- y_i - eta (g(y_i) - c_i + c), and after K steps from x sets
    c_i+ = c_i - c + (x - y_i) / (K eta). The server averages weights and the changes of c_i (global
    step size 1, every site in every round). The paper's objective weighs sites alike; ours weighs
    them by their images, as FedAvg does, so both means do. Plain gradient steps, as option II
    supposes; running statistics of BatchNorm are averaged and have no control variate.

    Args:
        local: makes a site's passes.
        network: for the names and shapes of the weights.
        sizes: number of images of each site.
        eta: local step size.
    """

    def __init__(self, local: Local, network: nn.Module, sizes: Sequence[int], eta: float) -> None:
        self._local, self._sizes, self.eta = local, sizes, eta
        zero = {name: torch.zeros_like(values) for name, values in network.named_parameters()}
        self.server: State = {name: values.detach() for name, values in zero.items()}
        self.sites: list[State] = [dict(self.server) for _ in sizes]

    def down(self) -> State:
        """Send c beside the weights."""
        return {_CONTROL + name: values for name, values in self.server.items()}

    def train(self, number: int, site: int, network: nn.Module) -> State:
        """Take corrected steps; return the change of this site's c_i."""
        weights = dict(network.named_parameters())
        x = {name: values.detach().clone() for name, values in weights.items()}
        c, c_i = self.server, self.sites[site]
        steps = 0

        @torch.no_grad()
        def take_step() -> None:
            nonlocal steps
            for name, values in weights.items():
                gradient = torch.zeros_like(values) if values.grad is None else values.grad
                values.sub_(gradient - c_i[name] + c[name], alpha=self.eta)
                values.grad = None  # nothing is left to do for the loop's own optimiser
            steps += 1

        with before_each_step(take_step):
            self._local(number, site, network)
        fresh = {
            name: c_i[name] - c[name] + (x[name] - values.detach()) / (steps * self.eta)
            for name, values in weights.items()
        }
        self.sites[site] = fresh
        return {_CONTROL + name: values - c_i[name] for name, values in fresh.items()}

    def collect(self, sent_up: Sequence[State]) -> None:
        """Move c by the mean change of the c_i."""
        change = weighted_mean(sent_up, self._sizes)
        self.server = {
            name: values + change[_CONTROL + name] for name, values in self.server.items()
        }


@contextmanager
def before_each_step(change: Callable[[], None]) -> Iterator[None]:
    """Call `change` before every step of any torch optimiser, while inside."""

    def hook(optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        change()

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def with_group_norm(network: nn.Module, groups: int = 8) -> nn.Module:
    """Replace every BatchNorm by GroupNorm (arXiv 1803.08494), in place.

    Statistics of a batch that holds one class are wrong for all others; groups need no batch.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            count = max(n for n in range(1, groups + 1) if channels % n == 0)
            setattr(network, name, nn.GroupNorm(count, channels))
        else:
            with_group_norm(child, groups)
    return network
