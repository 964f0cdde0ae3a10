"""The denoiser D(x; sigma): diffusers' UNet, asked for what a Gaussian cannot know.

Symbols follow Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models"
(arXiv 2206.00364): the raw network is F, what the sampler calls is D. The skip connection is not
EDM's scalar but the best linear denoiser of the class (client_agent/generator/gaussian.py), and F
sees its estimate beside the noisy image. Noise levels are drawn in units of sigma_data, which is
measured on the class. Folding pixel blocks into channels and padding to a size that the UNet's
levels divide also live here: outside, images keep the federation's size.
"""

import math
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional

from client_agent.generator.frames import FRAMES, turn
from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.presets import Preset

# UNet2DModel's sinusoidal embedding is made for steps counted in hundreds; c_noise spans about 2.
STEPS_PER_C_NOISE = 100.0


def build_unet(preset: Preset, framed: bool = False) -> Any:
    """Return an untrained `UNet2DModel` for `preset`, initialised from torch's global generator.

    Args:
        preset: shapes and sizes.
        framed: whether it is to be told in which frame its images are.
    """
    levels = len(preset.block_out_channels)
    down, up = ["DownBlock2D"] * levels, ["UpBlock2D"] * levels
    if preset.attention:
        down[-1], up[0] = "AttnDownBlock2D", "AttnUpBlock2D"
    network_channels = preset.channels * preset.patch**2
    unet: Any = UNet2DModel(
        sample_size=preset.padded_size // preset.patch,
        in_channels=2 * network_channels,
        out_channels=network_channels,
        block_out_channels=preset.block_out_channels,
        layers_per_block=preset.layers_per_block,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        add_attention=preset.attention,
        attention_head_dim=preset.attention_head_dim,
        norm_num_groups=preset.norm_groups,
        num_class_embeds=FRAMES if framed else None,
    )
    if framed:
        nn.init.zeros_(unet.class_embedding.weight)
    for block in unet.up_blocks:
        for upsampler in block.upsamplers or ():
            block.upsamplers[0] = ConvolveThenUpsample(upsampler.conv)
    return unet


class ConvolveThenUpsample(nn.Module):
    """The UNet's upsampler with its halves swapped, so that it convolves a quarter of the pixels.

    At 28 px the original order is the dearest convolution of all; images come out as close to the
    real ones either way (docs/recipe.md).

    Args:
        convolution: keeps height and width.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.conv = convolution

    def forward(self, hidden: Tensor, output_size: int | None = None) -> Tensor:
        """Return float32 [n, C, 2 H, 2 W]; the network's sizes are even, so no size is needed."""
        return functional.interpolate(self.conv(hidden), scale_factor=2.0, mode="nearest")


class RawNetwork(nn.Module):
    """F: pad, fold blocks into channels, UNet, unfold, crop. The only part that is learnt.

    Args:
        preset: shapes and sizes.
        framed: whether it takes frames (client_agent/generator/frames.py), as in training.
    """

    def __init__(self, preset: Preset, framed: bool = False) -> None:
        super().__init__()
        self.preset = preset
        self.unet: Any = build_unet(preset, framed)

    def forward(self, inputs: Tensor, c_noise: Tensor, frames: Tensor | None = None) -> Tensor:
        """Apply F.

        Args:
            inputs: the noisy image and the linear estimate, each minus mu and scaled to at most
                unit variance, float32 [n, 2 C, H, W].
            c_noise: ln(sigma / sigma_data) / 4, float32 [n], or [1] for one level for all.
            frames: of the images, int64 [n]; None: upright. Only if the network is framed.

        Returns:
            float32 [n, C, H, W].
        """
        preset = self.preset
        margin = preset.padded_size - preset.image_size
        hidden = functional.pad(inputs, (0, margin, 0, margin)) if margin else inputs
        if preset.patch > 1:
            hidden = _space_to_depth(hidden, preset.patch)
        if self.unet.class_embedding is not None and frames is None:
            frames = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
        hidden = self.unet(hidden, c_noise * STEPS_PER_C_NOISE, class_labels=frames).sample
        if preset.patch > 1:
            hidden = functional.pixel_shuffle(hidden, preset.patch)
        if margin:
            hidden = hidden[:, :, : preset.image_size, : preset.image_size]
        return hidden.float()


@torch.no_grad()
def upright(network: RawNetwork) -> RawNetwork:
    """Return a framed network as one that only knows upright images: the same answers for them."""
    values = network.state_dict()
    frames = values.pop("unet.class_embedding.weight")
    # The UNet adds the frame's vector to what this layer makes of the noise level.
    bias = "unet.time_embedding.linear_2.bias"
    values[bias] = values[bias] + frames[0]
    # Made without weights, which would be drawn from torch's global generator.
    with torch.device("meta"):
        plain = RawNetwork(network.preset)
    plain.load_state_dict(values, assign=True)
    return plain


def _space_to_depth(images: Tensor, patch: int) -> Tensor:
    """`pixel_unshuffle` with a free batch axis: torch's own bakes the batch into ONNX."""
    _, channels, height, width = images.shape
    rows, columns = height // patch, width // patch
    tiles = images.reshape(-1, channels, rows, patch, columns, patch)
    return tiles.permute(0, 1, 3, 5, 2, 4).reshape(-1, channels * patch**2, rows, columns)


def network_inputs(
    gaussian: ClassGaussian, x: Tensor, estimate: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor]:
    """Return F's two arguments.

    Args:
        gaussian: of the class.
        x: noisy images minus mu, float32 [n, C, H, W].
        estimate: `gaussian.estimate(x, sigma)`.
        sigma: noise levels, float32 [n] or [1].
    """
    level = sigma[:, None, None, None]
    c_in = 1 / (level**2 + gaussian.sigma_data**2).sqrt()
    inputs = torch.cat([c_in * x, estimate / gaussian.sigma_data], 1)
    return inputs, (sigma / gaussian.sigma_data).log() / 4


def denoising_loss(
    network: nn.Module,
    gaussian: ClassGaussian,
    centred: Tensor,
    sigma: Tensor,
    noise: Tensor,
    frames: Tensor | None = None,
) -> Tensor:
    """Return the training loss under EDM's weight lambda(sigma) = 1 / c_out^2 (equation 8).

    c_out is the error of the linear estimate, so the loss is the squared error of D as a share of
    what the best linear denoiser leaves: 1 before training, whatever the images.

    Args:
        network: F.
        gaussian: of the class.
        centred: y, clean images minus mu, float32 [n, C, H, W].
        sigma: noise levels, float32 [n].
        noise: n, unit normal, float32 [n, C, H, W].
        frames: in which F is shown the images, int64 [n]; None: all upright.

    Returns:
        float32 scalar.
    """
    x = centred + sigma[:, None, None, None] * noise
    estimate = gaussian.estimate(x, sigma)
    target = (centred - estimate) / gaussian.error(sigma)[:, None, None, None]
    inputs, c_noise = network_inputs(gaussian, x, estimate, sigma)
    arguments = [c_noise]
    if frames is not None:
        inputs, target = turn(inputs, frames), turn(target, frames)
        arguments.append(frames)
    # Channels-last is what convolutions on both kinds of device are fastest in.
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    return functional.mse_loss(network(inputs, *arguments), target)


def draw_sigma(count: int, preset: Preset, device: torch.device | str = "cpu") -> Tensor:
    """Draw log-normal noise levels, in units of sigma_data, one from each of `count` equal bands.

    Stratifying keeps EDM's distribution (ln sigma ~ N(P_mean, P_std^2)) and takes the luck of
    which noise levels a batch drew out of the gradient.

    Returns:
        float32 [count].
    """
    bands = torch.arange(count, device=device) + torch.rand(count, device=device)
    quantiles = (bands / count).clamp(1e-5, 1 - 1e-5)
    normal = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)
    return (preset.P_mean + preset.P_std * normal).exp()
