"""FedAvg, FedProx and SCAFFOLD against what their papers' formulas give on a linear model.

Site i has the loss a_i/2 (w - b_i)^2. A local step of size eta multiplies the distance to b_i by
1 - eta a_i, so every fixed point has a closed form.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from benchmarks.arms.solvers import (  # noqa: E402
    FedProx,
    Scaffold,
    before_each_step,
    with_group_norm,
)
from client_agent.classifier.network import build_network  # noqa: E402
from client_agent.demo.averaging import average_rounds  # noqa: E402
from tests.recovery import QUICK  # noqa: E402

A, B = (1.0, 4.0), (-2.0, 3.0)
SIZES = (1, 3)
ETA, STEPS = 0.05, 10


class Line(torch.nn.Module):
    def __init__(self, start: float = 0.0):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([start]))


class Quadratic:
    """Local work: `STEPS` plain gradient steps on the site's loss."""

    def down(self):
        return {}

    def train(self, number, site, network):
        optimiser = torch.optim.SGD(network.parameters(), lr=ETA)
        for _ in range(STEPS):
            optimiser.zero_grad()
            (A[site] / 2 * (network.w - B[site]) ** 2).sum().backward()
            optimiser.step()
        return {}

    def collect(self, sent_up):
        pass


def run(work, rounds=80, network=None):
    network = network or Line()
    average_rounds(network, SIZES, rounds, work)
    return network.w.item()


def shares():
    return np.array(SIZES) / sum(SIZES)


def fixed_point(shrink: np.ndarray, targets: np.ndarray) -> float:
    """Where w = sum of shares ((1 - shrink) target + shrink w)."""
    weights = shares() * (1 - shrink)
    return float((weights * targets).sum() / weights.sum())


def test_fedavg_ends_where_its_formula_says_and_not_at_the_optimum():
    a, b = np.array(A), np.array(B)
    optimum = float((shares() * a * b).sum() / (shares() * a).sum())
    expected = fixed_point((1 - ETA * a) ** STEPS, b)
    assert run(Quadratic()) == pytest.approx(expected, abs=1e-4)
    assert abs(expected - optimum) > 0.2


def test_fedprox_with_gradient_steps_ends_where_its_formula_says():
    a, b, mu = np.array(A), np.array(B), 2.0
    # The local minimum of a/2 (w - b)^2 + mu/2 (w - w0)^2 lies at (a b + mu w0) / (a + mu).
    reached = 1 - (1 - ETA * (a + mu)) ** STEPS
    expected = fixed_point(1 - reached * a / (a + mu), b)
    assert run(FedProx(Quadratic(), mu)) == pytest.approx(expected, abs=1e-4)
    assert run(FedProx(Quadratic(), 0.0)) == pytest.approx(run(Quadratic()), abs=1e-6)


def test_scaffold_reaches_the_optimum_that_fedavg_misses():
    a, b = np.array(A), np.array(B)
    optimum = float((shares() * a * b).sum() / (shares() * a).sum())
    work = Scaffold(Quadratic().train, Line(), SIZES, ETA)
    network = Line()
    assert run(work, network=network) == pytest.approx(optimum, abs=1e-3)
    # At the optimum the control variates are the sites' gradients there, and their mean is 0.
    gradients = a * (optimum - b)
    assert [state["w"].item() for state in work.sites] == pytest.approx(list(gradients), abs=1e-2)
    assert work.server["w"].item() == pytest.approx(0.0, abs=1e-3)


def test_scaffold_follows_the_paper_in_its_first_two_rounds():
    work = Scaffold(Quadratic().train, Line(), SIZES, ETA)
    network = Line()
    x, c, own = 0.0, 0.0, [0.0, 0.0]
    for _ in range(2):
        ends, fresh = [], []
        for site in range(2):
            y = x
            for _ in range(STEPS):
                y -= ETA * (A[site] * (y - B[site]) - own[site] + c)
            ends.append(y)
            fresh.append(own[site] - c + (x - y) / (STEPS * ETA))
        c += float(shares() @ (np.array(fresh) - np.array(own)))
        x, own = float(shares() @ np.array(ends)), fresh
        average_rounds(network, SIZES, 1, work)
        assert network.w.item() == pytest.approx(x, abs=1e-5)
        assert work.server["w"].item() == pytest.approx(c, abs=1e-4)


def test_scaffold_pays_for_its_control_variates():
    plain = average_rounds(Line(), SIZES, 2, Quadratic())
    both = average_rounds(Line(), SIZES, 2, Scaffold(Quadratic().train, Line(), SIZES, ETA))
    assert 1.9 * plain < both < 2.3 * plain


def test_the_hook_is_gone_afterwards():
    calls = []
    with before_each_step(lambda: calls.append(1)):
        Quadratic().train(0, 0, Line())
    Quadratic().train(0, 0, Line())
    assert len(calls) == STEPS


def test_group_norm_leaves_no_batch_norm_and_needs_no_batch():
    network = with_group_norm(build_network(QUICK, 8, 1, 3))
    kinds = [type(module) for module in network.modules()]
    assert torch.nn.BatchNorm2d not in kinds
    assert torch.nn.GroupNorm in kinds
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 8, 8, 1), dtype=torch.uint8, generator=random)
    network.train()
    together = network(images)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-3)
