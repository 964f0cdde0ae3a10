"""The denoiser D(x; sigma): diffusers' UNet wrapped in the preconditioning of EDM.

Symbols follow Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models"
(arXiv 2206.00364): the raw network is F, what the sampler calls is D. Two things are added round
the paper's formulas. The class's mean image `mu` is taken off before and put back after, so that
what F sees is centred, as the derivation of c_skip, c_out and c_in assumes; and `sigma_data` is
measured on the class instead of being a constant. Folding pixel blocks into channels and padding
to a size that the UNet's levels divide also live here: outside, images keep the federation's size.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional

from client_agent.generator.presets import Preset

# UNet2DModel's sinusoidal embedding is made for steps counted in hundreds; c_noise spans about 2.
STEPS_PER_C_NOISE = 100.0


def build_unet(preset: Preset) -> UNet2DModel:
    """Return an untrained UNet for `preset`, initialised from torch's global generator."""
    levels = len(preset.block_out_channels)
    down, up = ["DownBlock2D"] * levels, ["UpBlock2D"] * levels
    if preset.attention:
        down[-1], up[0] = "AttnDownBlock2D", "AttnUpBlock2D"
    network_channels = preset.channels * preset.patch**2
    return UNet2DModel(
        sample_size=preset.padded_size // preset.patch,
        in_channels=network_channels,
        out_channels=network_channels,
        block_out_channels=preset.block_out_channels,
        layers_per_block=preset.layers_per_block,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        add_attention=preset.attention,
        attention_head_dim=preset.attention_head_dim,
        norm_num_groups=preset.norm_groups,
    )


class RawNetwork(nn.Module):
    """F: pad, fold blocks into channels, UNet, unfold, crop. The only part that is learnt.

    Args:
        preset: shapes and sizes.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.unet: Any = build_unet(preset)

    def forward(self, scaled: Tensor, c_noise: Tensor) -> Tensor:
        """Apply F.

        Args:
            scaled: c_in (x - mu), float32 [n, C, H, W] of about unit variance.
            c_noise: ln(sigma) / 4, float32 [n], or [1] for one noise level for all.

        Returns:
            float32 [n, C, H, W].
        """
        preset = self.preset
        margin = preset.padded_size - preset.image_size
        hidden = functional.pad(scaled, (0, margin, 0, margin)) if margin else scaled
        if preset.patch > 1:
            hidden = _space_to_depth(hidden, preset.patch)
        hidden = self.unet(hidden, c_noise * STEPS_PER_C_NOISE).sample
        if preset.patch > 1:
            hidden = functional.pixel_shuffle(hidden, preset.patch)
        if margin:
            hidden = hidden[:, :, : preset.image_size, : preset.image_size]
        return hidden.float()


def _space_to_depth(images: Tensor, patch: int) -> Tensor:
    """`pixel_unshuffle` with a free batch axis: torch's own bakes the batch into ONNX."""
    _, channels, height, width = images.shape
    rows, columns = height // patch, width // patch
    tiles = images.reshape(-1, channels, rows, patch, columns, patch)
    return tiles.permute(0, 1, 3, 5, 2, 4).reshape(-1, channels * patch**2, rows, columns)


@dataclass(frozen=True)
class Preconditioning:
    """The four coefficients of EDM table 1 (last column) at one noise level; scalars."""

    c_skip: float
    c_out: float
    c_in: float
    c_noise: float


def precondition(sigma: float, sigma_data: float) -> Preconditioning:
    """Return EDM's coefficients for noise level `sigma` > 0 and data of spread `sigma_data` > 0."""
    total = math.hypot(sigma, sigma_data)
    return Preconditioning(
        c_skip=(sigma_data / total) ** 2,
        c_out=sigma * sigma_data / total,
        c_in=1 / total,
        c_noise=math.log(sigma) / 4,
    )


def denoising_loss(
    network: nn.Module, centred: Tensor, sigma: Tensor, noise: Tensor, sigma_data: float
) -> Tensor:
    """Return EDM's training loss under the weight lambda(sigma) = 1 / c_out^2 (equation 8).

    With that weight it is the plain squared error of F against its effective target
    (y - c_skip (y + sigma n)) / c_out, which is about 1 at every sigma before training.

    Args:
        network: F.
        centred: y, clean images minus the mean image, float32 [n, C, H, W].
        sigma: noise levels, float32 [n].
        noise: n, unit normal, float32 [n, C, H, W].
        sigma_data: root mean square of the centred images.

    Returns:
        float32 scalar.
    """
    level = sigma[:, None, None, None]
    x = centred + level * noise
    total = (level**2 + sigma_data**2).sqrt()
    # (y - c_skip x) / c_out with the fractions cancelled, so that nothing is lost at small sigma.
    target = (level * centred - sigma_data**2 * noise) / (sigma_data * total)
    return functional.mse_loss(network(x / total, sigma.log() / 4), target)


def draw_sigma(count: int, preset: Preset, device: torch.device | str = "cpu") -> Tensor:
    """Draw log-normal noise levels, one from each of `count` equally likely bands.

    Stratifying keeps EDM's distribution (ln sigma ~ N(P_mean, P_std^2)) and takes the luck of
    which noise levels a batch drew out of the gradient.

    Returns:
        float32 [count].
    """
    bands = torch.arange(count, device=device) + torch.rand(count, device=device)
    quantiles = (bands / count).clamp(1e-5, 1 - 1e-5)
    normal = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)
    return (preset.P_mean + preset.P_std * normal).exp()
