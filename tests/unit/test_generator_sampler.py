"""The solver's table against closed forms."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.generator.sampler import noise_schedule, sample, solver_table  # noqa: E402


class GaussianNetwork(torch.nn.Module):
    """The exact F for data ~ N(0, s^2) when the preconditioning assumes spread `sigma_data`."""

    def __init__(self, spread: float, sigma_data: float) -> None:
        super().__init__()
        self.spread, self.sigma_data = spread, sigma_data

    def forward(self, scaled, c_noise):
        sigma = torch.exp(4 * c_noise)[:, None, None, None].double()
        total = torch.sqrt(sigma**2 + self.sigma_data**2)
        x = scaled.double() * total
        best = x * self.spread**2 / (self.spread**2 + sigma**2)
        c_skip = self.sigma_data**2 / total**2
        return ((best - c_skip * x) * total / (sigma * self.sigma_data)).float()


def solve(steps: int, spread: float = 0.25, start: float = 20.0) -> float:
    """Relative error of the scale that the solver gives a Gaussian; the exact ODE is linear."""
    sigma_min = 0.01
    table = solver_table(steps, sigma_min, start, 7.0, sigma_data=0.5)
    noise = torch.full((1, 1, 8, 8), 0.03)
    image = sample(GaussianNetwork(spread, 0.5), table, torch.zeros(1, 8, 8), noise)
    got = float(image.mean()) * 2 - 1
    exact = 0.03 * start * spread / np.hypot(spread, start)
    return abs(got / exact - 1)


def test_the_solver_converges_to_the_exact_solution_at_second_order():
    errors = [solve(steps) for steps in (10, 20, 40)]
    assert errors[2] < 0.01
    assert errors[0] / errors[2] > 6


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
    table = solver_table(steps, 0.02, 20.0, 7.0, sigma_data=0.5)
    np.testing.assert_allclose(table.a + table.b + table.c, 1.0, atol=1e-12)
    assert table.c[0] == table.c[-1] == 0.0
    assert table.a[-1] == 0.0
