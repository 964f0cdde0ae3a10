"""The table in a module's Loop: what the network is given at each noise level, a row a level.

export.py writes it at the solver's levels, denoiser.py at others: one rule for both.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from client_agent.generator.spectrum import Spectrum

PREFIX = "table_"
"""A column lies in the Loop's body as the constant `PREFIX` + its name."""

ESTIMATE = "estimate"
"""The value in the body that is D's restored image minus mu."""


def network_columns(
    sigmas: NDArray[np.float64],
    sigma_data: float,
    spectrum: Spectrum,
    c_out: NDArray[np.float64] | Sequence[float],
) -> dict[str, NDArray[np.float64]]:
    """Return the columns that the denoiser reads, L rows each.

    Args:
        sigmas: noise levels, absolute, float64 [L].
        sigma_data: of the class.
        spectrum: of the class, k components.
        c_out: the linear denoiser's error at each level, [L].

    Returns:
        `gain_along` float64 [L, k], less the rest's; all others float64 [L].
    """
    gains = [spectrum.gains(float(sigma)) for sigma in sigmas]
    return {
        "gain_along": np.stack([along - rest for along, rest in gains]),
        "gain_rest": np.array([rest for _, rest in gains]),
        "c_in": 1 / np.hypot(sigmas, sigma_data),
        "c_estimate": np.full(len(sigmas), 1 / sigma_data),
        "c_noise": np.log(sigmas / sigma_data) / 4,
        "c_out": np.asarray(c_out),
    }
