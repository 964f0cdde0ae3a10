"""Muon's direction, and which parameters it takes."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.generator.muon import Muon, make_optimisers, orthogonalised  # noqa: E402
from client_agent.generator.network import RawNetwork  # noqa: E402
from client_agent.generator.presets import preset_for  # noqa: E402


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (32, 32)])
def test_the_direction_has_singular_values_near_one_and_the_vectors_of_the_gradient(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 1e-3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix) @ right.T
    values = turned.diagonal()
    assert values.min() > 0.3
    assert values.max() < 1.3
    assert (turned - torch.diag(values)).abs().max() < 1e-3


def test_a_gradient_of_nothing_moves_nothing():
    weight = torch.nn.Parameter(torch.ones(16, 16))
    weight.grad = torch.zeros(16, 16)
    Muon([weight], lr=0.1).step()
    assert torch.equal(weight, torch.ones(16, 16))


def test_it_finds_the_minimum_of_a_quadratic_that_is_steep_in_one_direction():
    torch.manual_seed(0)
    steep = torch.diag(torch.logspace(0, 3, 16))
    weight = torch.nn.Parameter(torch.randn(16, 16))
    optimiser = Muon([weight], lr=0.1)
    start = float(weight.detach().norm())
    for step in range(400):
        weight.grad = steep @ weight.detach()
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 400)
        optimiser.step()
    assert float(weight.detach().norm()) < 0.05 * start


def test_every_parameter_has_exactly_one_optimiser_and_edges_have_adamw():
    network = RawNetwork(preset_for("tiny", 28, 3))
    adamw, muon = make_optimisers(network, network.preset)
    counts = [
        sum(parameter.numel() for group in optimiser.param_groups for parameter in group["params"])
        for optimiser in (adamw, muon)
    ]
    assert sum(counts) == sum(parameter.numel() for parameter in network.parameters())
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    assert id(network.unet.conv_in.weight) not in taken
    assert id(network.unet.conv_out.weight) not in taken
    assert counts[1] > 0.9 * sum(counts)
