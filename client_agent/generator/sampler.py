"""The sampler: DPM-Solver++(2M) on EDM's noise schedule, as one table of coefficients.

The probability-flow ODE is solved from sigma_max to 0 with one network evaluation a step and no
fresh noise, so an image is a function of its starting noise alone. Everything that depends on the
step, and not on the image, is worked out here once in double precision; torch (below) and the
exported module (client_agent/module/export.py) run the same table, so they cannot drift apart.

Sources: schedule, EDM (arXiv 2206.00364) equation 5; solver, DPM-Solver++ (arXiv 2211.01095)
algorithm 2, written for x = y + sigma n, where alpha = 1 and lambda = -ln(sigma).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_agent.generator.network import RawNetwork, precondition
from client_agent.generator.presets import Preset

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SolverTable:
    """What each of N steps multiplies by; every field is float64 [N] unless said otherwise.

    With z = x - mu, F's output f and the previous estimate d' (0 before the first step):
    d = c_skip z + c_out f(c_in z; c_noise), then z <- a z + b d + c d'.

    Attributes:
        start: the scale of the initial noise, sigma_max.
        c_in: scale of the network's input.
        c_noise: the network's noise argument.
        c_skip: share of z in the estimate.
        c_out: share of f in the estimate.
        a: share of z in the next z.
        b: share of d.
        c: share of d'.
    """

    start: float
    c_in: Float64
    c_noise: Float64
    c_skip: Float64
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
    num_steps: int, sigma_min: float, sigma_max: float, rho: float, sigma_data: float
) -> SolverTable:
    """Work out the coefficients of DPM-Solver++(2M) with EDM's preconditioning.

    Args:
        num_steps: steps, at least 1.
        sigma_min: last noise level above 0.
        sigma_max: first noise level.
        rho: exponent of the schedule.
        sigma_data: root mean square of the centred images.
    """
    sigma = noise_schedule(num_steps, sigma_min, sigma_max, rho)
    coefficients = [precondition(float(level), sigma_data) for level in sigma[:-1]]
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
        start=float(sigma[0]),
        c_in=np.array([k.c_in for k in coefficients]),
        c_noise=np.array([k.c_noise for k in coefficients]),
        c_skip=np.array([k.c_skip for k in coefficients]),
        c_out=np.array([k.c_out for k in coefficients]),
        a=a,
        b=b,
        c=c,
    )


def preset_table(preset: Preset, sigma_data: float) -> SolverTable:
    """Return the table of the preset's own sampler."""
    return solver_table(
        preset.sampler_steps, preset.sigma_min, preset.sigma_max, preset.rho, sigma_data
    )


@torch.inference_mode()
def sample(network: RawNetwork, table: SolverTable, mean_image: Tensor, noise: Tensor) -> Tensor:
    """Turn noise into images.

    Args:
        network: F, on the device of `noise`, in eval mode.
        table: the solver's coefficients.
        mean_image: mu, float32 [C, H, W] in [-1, 1].
        noise: unit normal, float32 [n, C, H, W].

    Returns:
        float32 [n, C, H, W] in [0, 1].
    """
    z = noise * table.start
    before = torch.zeros_like(z)
    for i in range(len(table.a)):
        c_noise = torch.full((1,), float(table.c_noise[i]), device=z.device)
        raw = network(float(table.c_in[i]) * z, c_noise)
        estimate = float(table.c_skip[i]) * z + float(table.c_out[i]) * raw
        z = float(table.a[i]) * z + float(table.b[i]) * estimate + float(table.c[i]) * before
        before = estimate
    return ((z + mean_image) * 0.5 + 0.5).clamp(0.0, 1.0)
