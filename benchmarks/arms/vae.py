"""A convolutional VAE per class (arXiv 1312.6114) with an optimal observation noise.

The noise of the decoder is not a constant to tune but its own maximum-likelihood estimate in each
batch (sigma-VAE, arXiv 2006.13202), so that neither blur nor noise is chosen by hand. Samples are
the decoder's means for standard normal codes. Only the decoder travels.
"""

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client_agent.demo.averaging import state_bytes

LATENT = 32
WIDTH = 32
BATCH = 64
LEARNING_RATE = 2e-3
CHECK_EVERY = 50
_LEAST_STEPS = 5


class _Vae(nn.Module):
    """Three halvings down to an eighth of the size, and back."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.size, self.grid = size, -(-size // 8)
        w = WIDTH
        self.encoder = nn.Sequential(
            _down(channels, w), _down(w, 2 * w), _down(2 * w, 4 * w), nn.Flatten(),
            nn.Linear(4 * w * self.grid**2, 2 * LATENT),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 4 * w * self.grid**2), nn.SiLU(),
            nn.Unflatten(1, (4 * w, self.grid, self.grid)),
            _up(4 * w, 2 * w), _up(2 * w, w), _up(w, w), nn.Conv2d(w, channels, 3, padding=1),
        )  # fmt: skip

    def decode(self, code: Tensor) -> Tensor:
        """[n, LATENT] to [n, C, H, W], about -1 to 1."""
        return self.decoder(code)[:, :, : self.size, : self.size]

    def loss(self, images: Tensor) -> Tensor:
        """Negative evidence bound a pixel value, up to a constant."""
        margin = 8 * self.grid - self.size
        padded = nn.functional.pad(images, (0, margin, 0, margin), mode="replicate")
        mean, log_variance = self.encoder(padded).chunk(2, dim=1)
        log_variance = log_variance.clamp(-12, 8)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = (self.decode(code) - images).square().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        pixels = images[0].numel()
        # With the best sigma^2 = error the Gaussian term is log(error) / 2 a pixel value.
        return 0.5 * error.clamp(min=1e-6).log() + divergence / pixels


def _down(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()
    )


def _up(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs), nn.SiLU(),
    )  # fmt: skip


@dataclass(frozen=True)
class VaeGenerator:
    """A trained decoder.

    Attributes:
        network: the whole VAE; only its decoder is used.
        bytes: size of the decoder as it would travel.
        steps: training steps.
    """

    network: _Vae
    bytes: int
    steps: int

    @torch.inference_mode()
    def sample(self, count: int, seed: int, seconds: float) -> NDArray[np.uint8]:
        """Return uint8 [count, H, W, C]; a decoder is quick enough not to be limited."""
        codes = np.random.Generator(np.random.Philox(seed)).standard_normal(
            (count, LATENT), dtype=np.float32
        )
        parts = [
            self.network.decode(torch.from_numpy(codes[start : start + 256])).permute(0, 2, 3, 1)
            for start in range(0, count, 256)
        ]
        levels = (torch.cat(parts) * 127.5 + 127.5).clamp(0, 255).round()
        return levels.to(torch.uint8).numpy()


def train_vae(
    images: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    *,
    seconds: float,
    steps: int | None = None,
    seed: int,
    threads: int,
) -> VaeGenerator:
    """Train until `seconds` or `steps` are used up.

    The step size falls linearly to 0. Where there are validation images, the weights with the best
    bound on them are kept.
    """
    torch.set_num_threads(threads)
    data = _signed(images)
    held_out = _signed(validation[:512])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Vae(images.shape[1], images.shape[3])
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
        best, best_loss = copy.deepcopy(network), float("inf")
        started, step = time.monotonic(), 0

        def used() -> float:
            share = (time.monotonic() - started) / seconds
            return share if steps is None else max(share, step / steps)

        while used() < 1 or step < _LEAST_STEPS:
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * max(1 - used(), 0.01)
            loss = network.loss(data[torch.randint(len(data), (BATCH,))])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
            if len(held_out) and (step % CHECK_EVERY == 0 or used() >= 1):
                with torch.no_grad():
                    value = float(network.loss(held_out))
                if value < best_loss:
                    best, best_loss = copy.deepcopy(network), value
    chosen = best if best_loss < float("inf") else network
    return VaeGenerator(chosen.eval(), state_bytes(chosen.decoder), step)


def _signed(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
