"""The solver's table against closed forms."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.generator.gaussian import ClassGaussian  # noqa: E402
from client_agent.generator.sampler import noise_schedule, sample, solver_table  # noqa: E402


def white(spread: float, size: int = 8) -> ClassGaussian:
    """N(0, spread^2 I), with one direction singled out so that every part takes part."""
    basis = torch.zeros(size * size, 1)
    basis[0] = 1.0
    variances = torch.full((1,), spread**2, dtype=torch.float64)
    return ClassGaussian(torch.zeros(1, size, size), basis, variances, spread**2, spread)


class Correction(torch.nn.Module):
    """The exact F for data ~ N(0, spread^2) where the Gaussian was fitted as `assumed`."""

    def __init__(self, spread: float, assumed: ClassGaussian) -> None:
        super().__init__()
        self.spread, self.assumed = spread, assumed

    def forward(self, inputs, c_noise):
        sigma = torch.exp(4 * c_noise).double() * self.assumed.sigma_data
        level = sigma[:, None, None, None]
        x = inputs[:, :1].double() * torch.sqrt(level**2 + self.assumed.sigma_data**2)
        best = x * self.spread**2 / (self.spread**2 + level**2)
        linear = self.assumed.estimate(x.float(), sigma.float()).double()
        return ((best - linear) / self.assumed.error(sigma)[:, None, None, None]).float()


def solve(steps: int, spread: float = 0.25, start: float = 20.0) -> float:
    """Relative error of the scale that the solver gives a Gaussian; the exact ODE is linear."""
    assumed = white(0.5)
    table = solver_table(steps, 0.02, start / 0.5, 7.0, assumed)
    noise = torch.full((1, 1, 8, 8), 0.03)
    image = sample(Correction(spread, assumed), table, assumed, noise)
    got = float(image.mean()) * 2 - 1
    exact = 0.03 * np.hypot(start, 0.5) * spread / np.hypot(spread, start)
    return abs(got / exact - 1)


def test_the_solver_converges_to_the_exact_solution_at_second_order():
    errors = [solve(steps) for steps in (10, 20, 40)]
    assert errors[2] < 0.01
    assert errors[0] / errors[2] > 6


class Nothing(torch.nn.Module):
    def forward(self, inputs, c_noise):
        return torch.zeros_like(inputs[:, :1])


def test_a_network_that_has_learnt_nothing_samples_the_gaussian_of_the_class():
    assumed = white(0.2)
    noise = torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    table = solver_table(40, 0.02, 8.0, 7.0, assumed)
    images = sample(Nothing(), table, assumed, noise) * 2 - 1
    assert float(images.std()) == pytest.approx(0.2, rel=0.03)


def test_schedule_falls_from_sigma_max_to_zero():
    sigma = noise_schedule(12, 0.02, 20.0, 7.0)
    assert len(sigma) == 13
    assert sigma[0] == pytest.approx(20.0)
    assert sigma[-2] == pytest.approx(0.02)
    assert sigma[-1] == 0.0
    assert (np.diff(sigma) < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 18])
def test_each_step_is_consistent(steps: int):
    """An image that the estimate returns unchanged stays where it is: a + b + c = 1."""
    table = solver_table(steps, 0.02, 20.0, 7.0, white(0.5))
    np.testing.assert_allclose(table.a + table.b + table.c, 1.0, atol=1e-12)
    assert table.c[0] == table.c[-1] == 0.0
    assert table.a[-1] == 0.0
