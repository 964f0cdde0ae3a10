"""Every number of a generator in one table: size of the network, training recipe, sampler.

A preset is chosen by name in the federation spec and fitted here to the federation's image size.
No other module of the generator holds a tuned constant. Where a number was measured, the comment
beside it says what; the runs are in docs/benchmarks.md.
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
        peak_lr: AdamW's step size after warm-up; from the start it also falls linearly to 0 over
            the budget.
        sampler_steps: steps of the sampler, one network evaluation each.
        bf16: compute in bfloat16 where the processor has instructions for it.
        attention_head_dim: channels of one attention head.
        norm_groups: groups of each GroupNorm; divides every entry of `block_out_channels`.
        warmup_steps: steps of linear warm-up.
        beta2: AdamW's second-moment decay.
        weight_decay: AdamW's decoupled weight decay.
        ema_gamma: exponent of the power-function average of weights (arXiv 2312.02696, section 3):
            at step t the average keeps (1 - 1/t)^(gamma + 1) of itself, so its memory is the same
            share of any run.
        P_mean: mean of ln(sigma) in training (EDM table 1).
        P_std: standard deviation of ln(sigma) in training.
        sigma_min: smallest noise level of the sampler, images in [-1, 1].
        sigma_max: largest noise level of the sampler.
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
    beta2: float = 0.99
    weight_decay: float = 0.0
    ema_gamma: float = 12.0
    P_mean: float = -1.2
    P_std: float = 1.2
    sigma_min: float = 0.02
    sigma_max: float = 20.0
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
            # Handwritten digits, 115 images a class, one thread: 250 steps (8 s) and a classifier
            # that saw synthetic digits only is right on 98.6 % of real ones, as one that saw the
            # real ones is. (32, 64) is slower and no better. Folding 2 x 2 blocks doubles the steps
            # a second and learns the training images by heart (held-out loss 1.04 against 0.58).
            # So does training on: held-out loss is flat from 8 to 20 s while samples move closer
            # to training images than unseen real ones are.
            patch=1, block_out_channels=(32, 48), layers_per_block=1, attention=False,
            # 6 sampler steps cost 0.4 points, 12 and 18 gain nothing over 8.
            batch_size=32, peak_lr=3e-3, sampler_steps=8,
            # bfloat16 is slower than float32 at this size: 26 against 30 steps a second.
            bf16=False,
        )  # fmt: skip
    return Preset(
        name="tiny", image_size=size, channels=channels,
        # Blood cells, 28 px, 30 s of one thread each: working on pixels in small batches beats
        # folding 2 x 2 blocks into 48/96 or 40/80 channels, which trains on 2.5 times the images in
        # that time and still leaves visible grain (held-out loss at sigma 0.12: 0.19 against 0.28;
        # local contrast of samples 17.6 against 24.7, of real images 17.1). Three levels, so that
        # the coarsest sees the whole image. 3.4 MiB.
        patch=2 ** max(0, math.ceil(math.log2(size / 32))),
        block_out_channels=(32, 48, 64), layers_per_block=1, attention=False,
        batch_size=16, peak_lr=3e-3,
        # 10 steps gave no worse a classifier than 18.
        sampler_steps=10,
        # Less noise than EDM's -1.2: medical images spread about 0.2, not 0.5, so the levels at
        # which grain is decided lie lower.
        P_mean=-1.6,
        # No faster here than float32 (6.6 against 6.6 steps a second): keep the exact one.
        bf16=False,
    )  # fmt: skip


def _small(size: int, channels: int) -> Preset:
    """Three levels on a grid of at most 32, made for 64 px."""
    return Preset(
        name="small", image_size=size, channels=channels,
        patch=2 ** max(0, math.ceil(math.log2(size / 32))),
        block_out_channels=(64, 128, 128), layers_per_block=1, attention=True,
        batch_size=64, peak_lr=1.5e-3, sampler_steps=18, warmup_steps=200,
    )  # fmt: skip


def _large(size: int, channels: int) -> Preset:
    """Four levels on a grid of at most 64, made for 128 px and a GPU."""
    return Preset(
        name="large", image_size=size, channels=channels,
        patch=2 ** max(0, math.ceil(math.log2(size / 64))),
        block_out_channels=(96, 192, 256, 256), layers_per_block=2, attention=True,
        batch_size=64, peak_lr=8e-4, sampler_steps=24, warmup_steps=500,
        # Larger images need noisier training (EDM section 5): more pixels average the noise out.
        P_mean=-0.6, sigma_max=40.0,
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
