"""The sampler: DPM-Solver++(2M) on EDM's noise schedule, as one table of coefficients.

The probability-flow ODE is solved from sigma_max to 0 with one network evaluation a step and no
fresh noise, so an image is a function of its starting noise alone. It starts from noise that has
the covariance of the class at sigma_max, so that a few times sigma_data is high enough. Everything
that depends on the step, and not on the image, is worked out here once in double precision; torch
(below) and the exported module (client_agent/module/export.py) run the same table, so they cannot
drift apart.

Sources: schedule, EDM (arXiv 2206.00364) equation 5; solver, DPM-Solver++ (arXiv 2211.01095)
algorithm 2, written for x = y + sigma n, where alpha = 1 and lambda = -ln(sigma).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.network import RawNetwork, network_inputs
from client_agent.generator.presets import Preset

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SolverTable:
    """The numbers of N steps, noise levels in absolute units; every field is float64 [N].

    With z = x - mu, F's output f and the previous estimate d' (0 before the first step):
    d = W(sigma) z + c_out f, then z <- a z + b d + c d'.

    Attributes:
        sigma: noise level at which a step begins.
        c_out: share of f in the estimate.
        a: share of z in the next z.
        b: share of d.
        c: share of d'.
    """

    sigma: Float64
    c_out: Float64
    a: Float64
    b: Float64
    c: Float64


def noise_schedule(num_steps: int, sigma_min: float, sigma_max: float, rho: float) -> Float64:
    """Return sigma_0 = sigma_max > ... > sigma_{N-1} = sigma_min > sigma_N = 0 (EDM equation 5).

    Returns:
        float64 [num_steps + 1].
    """
    ramp = np.linspace(0.0, 1.0, num_steps) if num_steps > 1 else np.zeros(1)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)


def solver_table(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float, gaussian: ClassGaussian
) -> SolverTable:
    """Work out the coefficients of DPM-Solver++(2M).

    Args:
        num_steps: steps, at least 1.
        sigma_min: last noise level above 0, in units of sigma_data.
        sigma_max: first noise level, in units of sigma_data.
        rho: exponent of the schedule.
        gaussian: of the class.
    """
    sigma = noise_schedule(num_steps, sigma_min, sigma_max, rho) * gaussian.sigma_data
    a = sigma[1:] / sigma[:-1]
    b, c = 1.0 - a, np.zeros(num_steps)
    # Second order wherever a previous estimate exists and the step is finite in lambda: not in
    # the first step, nor in the last, which ends at sigma = 0 and just takes the estimate.
    for i in range(1, num_steps - 1):
        h_before = np.log(sigma[i - 1] / sigma[i])
        h = np.log(sigma[i] / sigma[i + 1])
        extrapolation = h / (2.0 * h_before)
        b[i], c[i] = (1.0 - a[i]) * (1.0 + extrapolation), -(1.0 - a[i]) * extrapolation
    return SolverTable(
        sigma=sigma[:-1],
        c_out=gaussian.error(torch.from_numpy(sigma[:-1])).numpy(),
        a=a,
        b=b,
        c=c,
    )


def preset_table(preset: Preset, gaussian: ClassGaussian) -> SolverTable:
    """Return the table of the preset's own sampler."""
    return solver_table(
        preset.sampler_steps, preset.sigma_min, preset.sigma_max, preset.rho, gaussian
    )


@torch.inference_mode()
def sample(
    network: RawNetwork, table: SolverTable, gaussian: ClassGaussian, noise: Tensor
) -> Tensor:
    """Turn noise into images.

    Args:
        network: F, on the device of `noise`, in eval mode.
        table: the solver's coefficients.
        gaussian: of the class, on the same device.
        noise: unit normal, float32 [n, C, H, W].

    Returns:
        float32 [n, C, H, W] in [0, 1].
    """
    z = gaussian.colour(noise, float(table.sigma[0]))
    before = torch.zeros_like(z)
    for i in range(len(table.a)):
        sigma = torch.full((1,), float(table.sigma[i]), device=z.device)
        linear = gaussian.estimate(z, sigma)
        raw = network(*network_inputs(gaussian, z, linear, sigma))
        estimate = linear + float(table.c_out[i]) * raw
        z = float(table.a[i]) * z + float(table.b[i]) * estimate + float(table.c[i]) * before
        before = estimate
    return ((z + gaussian.mean) * 0.5 + 0.5).clamp(0.0, 1.0)
