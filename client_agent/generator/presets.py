"""Every number of a generator in one table: size of the network, training recipe, sampler.

A preset is chosen by name in the federation spec and fitted here to the federation's image size.
No other module of the generator holds a tuned constant. Where a number was measured, the comment
beside it says what; the runs are in docs/recipe.md.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from client_agent.errors import UsageError

SMALLEST_IMAGE = 8
LARGEST_IMAGE = 256


@dataclass(frozen=True)
class Preset:
    """One generator recipe fitted to one image shape.

    Attributes:
        name: the table row it came from.
        image_size: height and width of the images in pixels.
        channels: 1 (grey) or 3 (colour).
        patch: side of the pixel blocks folded into channels before the network.
        block_out_channels: channels of each UNet level, finest first.
        layers_per_block: residual blocks a level.
        attention: self-attention at the coarsest level and in the middle.
        batch_size: images a training step.
        peak_lr: Muon's step size after warm-up; from the start it also falls linearly to 0 over
            the budget.
        adamw_lr: AdamW's, for the parameters that are no matrices.
        sampler_steps: steps of the sampler, one network evaluation each.
        bf16: compute in bfloat16 where the processor has instructions for it.
        attention_head_dim: channels of one attention head.
        norm_groups: groups of each GroupNorm; divides every entry of `block_out_channels`.
        warmup_steps: steps of linear warm-up.
        beta2: AdamW's second-moment decay.
        ema_gamma: exponent of the power-function average of weights (arXiv 2312.02696, section 3):
            at step t the average keeps (1 - 1/t)^(gamma + 1) of itself, so its memory is the same
            share of any run.
        P_mean: mean of ln(sigma / sigma_data) in training (EDM table 1).
        P_std: its standard deviation.
        sigma_min: smallest noise level of the sampler, in units of sigma_data.
        sigma_max: largest noise level of the sampler, in units of sigma_data.
        rho: exponent of the sampler's schedule (EDM equation 5).
    """

    name: str
    image_size: int
    channels: int
    patch: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    attention: bool
    batch_size: int
    peak_lr: float
    sampler_steps: int
    bf16: bool = True
    attention_head_dim: int = 16
    norm_groups: int = 8
    warmup_steps: int = 50
    adamw_lr: float = 3e-3
    beta2: float = 0.99
    ema_gamma: float = 12.0
    P_mean: float = -0.2
    P_std: float = 1.2
    sigma_min: float = 0.08
    sigma_max: float = 8.0
    rho: float = 7.0

    @property
    def padded_size(self) -> int:
        """Image size rounded up to what the blocks and the UNet's halvings divide."""
        multiple = self.patch * 2 ** (len(self.block_out_channels) - 1)
        return math.ceil(self.image_size / multiple) * multiple

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `Preset.from_dict(p.to_dict()) == p`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preset":
        """Invert `to_dict`, also after a trip through JSON."""
        return cls(**{**values, "block_out_channels": tuple(values["block_out_channels"])})


def _tiny(size: int, channels: int) -> Preset:
    """Two or three levels on a grid of at most 32: a few minutes of a laptop a class."""
    if size < 16:
        return Preset(
            name="tiny", image_size=size, channels=channels,
            # Folding 2 x 2 blocks doubles the steps a second and learns the training images by
            # heart. So does training on: held-out loss is flat from 8 to 20 s of one thread while
            # samples move closer to training images than unseen real ones are.
            patch=1, block_out_channels=(32, 48), layers_per_block=1, attention=False,
            batch_size=32, peak_lr=8e-3, sampler_steps=4,
            # bfloat16 is slower than float32 at this size: 26 against 30 steps a second.
            bf16=False,
        )  # fmt: skip
    return Preset(
        name="tiny", image_size=size, channels=channels,
        # Blood cells, 28 px: 16 channels at the finest level train 1.4 times and sample 1.5 times
        # as many images a second as 24 and are as close to the real images in equal time. Folding
        # 2 x 2 blocks into 48/96 channels leaves four times the distance. Three levels, so that the
        # coarsest sees the whole image.
        patch=2 ** max(0, math.ceil(math.log2(size / 32))),
        block_out_channels=(16, 48, 64), layers_per_block=1, attention=False,
        # Batches of 32 at half the steps leave twice the distance; batches of 8 gain nothing.
        batch_size=16, peak_lr=8e-3, P_std=0.9,
        # 4 steps come as close to the real images as 6 do; 3 leave 1.5 times the distance.
        sampler_steps=4,
        # No faster here than float32 (6.6 against 6.6 steps a second): keep the exact one.
        bf16=False,
    )  # fmt: skip


def _small(size: int, channels: int) -> Preset:
    """Three levels on a grid of at most 32, made for 64 px."""
    return Preset(
        name="small", image_size=size, channels=channels,
        patch=2 ** max(0, math.ceil(math.log2(size / 32))),
        block_out_channels=(64, 128, 128), layers_per_block=1, attention=True,
        batch_size=64, peak_lr=6e-3, adamw_lr=1.5e-3, sampler_steps=8, warmup_steps=200,
    )  # fmt: skip


def _large(size: int, channels: int) -> Preset:
    """Four levels on a grid of at most 64, made for 128 px and a GPU."""
    return Preset(
        name="large", image_size=size, channels=channels,
        patch=2 ** max(0, math.ceil(math.log2(size / 64))),
        block_out_channels=(96, 192, 256, 256), layers_per_block=2, attention=True,
        batch_size=64, peak_lr=4e-3, adamw_lr=8e-4, sampler_steps=12, warmup_steps=500,
        # Larger images need noisier training (EDM section 5): more pixels average the noise out.
        P_mean=0.4 if size > 64 else -0.2, sigma_max=16.0 if size > 64 else 8.0,
    )  # fmt: skip


_TABLE = {"tiny": _tiny, "small": _small, "large": _large}
PRESET_NAMES = tuple(_TABLE)


def preset_for(name: str, image_size: int, channels: int, **changes: Any) -> Preset:
    """Return the preset `name` fitted to an image shape.

    Args:
        name: one of `PRESET_NAMES`.
        image_size: height and width in pixels, 8 to 256.
        channels: 1 or 3.
        changes: fields to set otherwise than the table does.

    Raises:
        UsageError: unknown name, or a shape outside the range.
    """
    if name not in _TABLE:
        raise UsageError(
            f"generator preset {name!r} is unknown", hint=f"choose from {', '.join(PRESET_NAMES)}"
        )
    if not SMALLEST_IMAGE <= image_size <= LARGEST_IMAGE or channels not in (1, 3):
        raise UsageError(
            f"no generator for images of {image_size} x {image_size} x {channels}",
            hint=f"sizes {SMALLEST_IMAGE} to {LARGEST_IMAGE} with 1 or 3 channels are supported",
        )
    return replace(_TABLE[name](image_size, channels), **changes)
