"""The stock unconditional recipe of diffusers (its `train_unconditional` example), one per class.

Taken over: the example's UNet (six levels, 128 to 512 channels, attention on the fifth, two layers
a block), 1,000 linear noise levels, prediction of the noise, AdamW 1e-4 with betas (0.95, 0.999),
batch 16, cosine decay after a warm-up, diffusers' own EMA. Two things follow from the time: the
warm-up of 500 steps is at most a tenth of the steps that the seconds allow, and images are sampled
by DDIM (arXiv 2010.02502) in 50 steps instead of 1,000, without which there would be next to none.
Images are enlarged to a multiple of 32 pixels, which six levels need, and reduced again.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from client_agent.demo.averaging import state_bytes


@dataclass(frozen=True)
class DdpmRecipe:
    """The example's defaults; tests make the network smaller.

    Attributes:
        channels: of each level.
        attention_level: level with attention, from 0; -1 for none.
        batch: images a step.
        learning_rate: AdamW's.
        warmup: steps.
        sampling_steps: of DDIM.
        sampling_batch: images sampled together.
    """

    channels: tuple[int, ...] = (128, 128, 256, 256, 512, 512)
    attention_level: int = 4
    batch: int = 16
    learning_rate: float = 1e-4
    warmup: int = 500
    sampling_steps: int = 50
    sampling_batch: int = 4


STOCK = DdpmRecipe()
_TIMED_STEPS = 3
_FEWEST_SAMPLES = 2


@dataclass(frozen=True)
class DdpmGenerator:
    """A trained model.

    Attributes:
        network: the averaged UNet.
        recipe: how it was trained.
        image_size, channels: of the images; the network works on `padded` pixels.
        bytes: size of the weights.
        steps: training steps.
    """

    network: Any
    recipe: DdpmRecipe
    image_size: int
    channels: int
    padded: int
    bytes: int
    steps: int

    @torch.inference_mode()
    def sample(self, count: int, seed: int, seconds: float) -> NDArray[np.uint8]:
        """Sample whole batches by DDIM until `count` images are there or `seconds` are over."""
        from diffusers import DDIMScheduler

        scheduler: Any = DDIMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        scheduler.set_timesteps(self.recipe.sampling_steps)
        random = torch.Generator().manual_seed(seed)
        # No batch larger than what is wanted: on a processor a batch saves nothing.
        size = max(_FEWEST_SAMPLES, min(self.recipe.sampling_batch, count))
        made: list[torch.Tensor] = []
        started = time.monotonic()
        while len(made) * size < count:
            images = torch.randn((size, self.channels, self.padded, self.padded), generator=random)
            for level in scheduler.timesteps:
                images = scheduler.step(self.network(images, level).sample, level, images)[0]
            made.append(images)
            spent = time.monotonic() - started
            if spent * (len(made) + 1) / len(made) > seconds:
                break
        small = functional.interpolate(torch.cat(made)[:count], size=self.image_size, mode="area")
        levels = (small * 127.5 + 127.5).clamp(0, 255).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous().numpy()


def train_ddpm(
    images: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    *,
    seconds: float,
    steps: int | None = None,
    seed: int,
    threads: int,
    recipe: DdpmRecipe = STOCK,
) -> DdpmGenerator:
    """Train for about `seconds`, at most `steps`: the speed of the first steps decides how many.

    `validation` is not looked at: the example does not choose.
    """
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    torch.set_num_threads(threads)
    size, channels = images.shape[1], images.shape[3]
    multiple = 2 ** (len(recipe.channels) - 1)
    padded = math.ceil(size / multiple) * multiple
    data = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    data = functional.interpolate(data, size=padded, mode="bilinear", antialias=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(recipe, padded, channels)
        noise_levels: Any = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, betas=(0.95, 0.999), weight_decay=1e-6
        )
        average = EMAModel(
            network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
        )

        def take_step() -> None:
            clean = data[torch.randint(len(data), (recipe.batch,))]
            noise = torch.randn_like(clean)
            level = torch.randint(0, 1000, (len(clean),))
            noisy = noise_levels.add_noise(clean, noise, level)
            loss = functional.mse_loss(network(noisy, level).sample, noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            average.step(network.parameters())

        started = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate / recipe.warmup
        for _ in range(_TIMED_STEPS):
            take_step()
        rate = _TIMED_STEPS / (time.monotonic() - started)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate
        planned = max(1, min(math.floor(seconds * rate), steps or 10**9) - _TIMED_STEPS)
        schedule = get_cosine_schedule_with_warmup(
            optimiser, min(recipe.warmup, max(1, planned // 10)), planned
        )
        done = 0
        while done < planned and time.monotonic() - started < seconds:
            take_step()
            schedule.step()
            done += 1
        average.copy_to(network.parameters())
    network.eval()
    return DdpmGenerator(
        network, recipe, size, channels, padded, state_bytes(network), done + _TIMED_STEPS
    )


def _network(recipe: DdpmRecipe, size: int, channels: int) -> Any:
    from diffusers import UNet2DModel

    levels = len(recipe.channels)
    down = ["DownBlock2D"] * levels
    up = ["UpBlock2D"] * levels
    if recipe.attention_level >= 0:
        down[recipe.attention_level] = "AttnDownBlock2D"
        up[levels - 1 - recipe.attention_level] = "AttnUpBlock2D"
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=recipe.channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
    )
