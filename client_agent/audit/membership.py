"""What the generator itself knows about an image: attack scores of training and held-out images.

Three attacks on the denoiser D(x; sigma), all with the same noise for every image, so that only the
image differs. None needs a second model.

- `sima`: how far D moves the clean image itself at a small sigma, one query a level (SimA, arXiv
  2509.25003). A denoiser leaves what it has learnt by heart where it is.
- `denoising_loss`: the squared error of D on the noisy image (Matsumoto et al., arXiv 2302.03262).
- `mid_frequency`: that error between 0.1 and 0.3 cycles a pixel (after FCRE, arXiv 2506.14919): low
  frequencies every denoiser gets right, the highest none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from client_agent.generator.training import TrainedGenerator

# In units of sigma_data. Measured on over-trained generators of 50 images, 300 steps, blood cells:
# SimA's AUC is 0.85, 0.89, 0.97, 0.98, 0.93 at 0.05, 0.1, 0.2, 0.4, 0.8.
_SIMA_LEVELS = (0.2, 0.4)
# The loss's is 0.70, 0.75, 0.82, 0.88, 0.88 there, and mid frequencies give 0.96 at 0.4.
_LOSS_LEVELS = (0.4, 0.8)
_DRAWS = 2
_BAND = (0.1, 0.3)
_CHUNK = 64
# Images a side: more narrow the intervals no further than a gate needs.
_MOST = 512
_MOST_LARGE = 128
_LARGE = 64


@dataclass(frozen=True, eq=False)
class DenoisingLosses:
    """Per-image scores of the attacks; lower means more like a training image.

    Attributes:
        training: by attack, float64 [a].
        held_out: by attack, float64 [b].
        training_index: which training images, int64 [a].
        held_out_index: which held-out images, int64 [b].
    """

    training: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    training_index: np.ndarray
    held_out_index: np.ndarray


def denoising_losses(
    trained: "TrainedGenerator",
    training: np.ndarray,
    held_out: np.ndarray,
    *,
    seed: int,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> DenoisingLosses:
    """Attack the network behind a module with images of both sides.

    Args:
        trained: the generator.
        training, held_out: uint8 [n, H, W, C] and [m, H, W, C].
        seed: of the noise, and of which images are tried: at most 512 a side (128 above 64 px).
        on_progress: called with the fraction done, 0 to 1.
    """
    import torch

    most = _MOST if training.shape[1] <= _LARGE else _MOST_LARGE
    random = np.random.default_rng([seed, 1])
    sides = [np.sort(random.permutation(len(images))[:most]) for images in (training, held_out)]
    chosen = np.concatenate([training[sides[0]], held_out[sides[1]]])
    generator = torch.Generator().manual_seed(seed)
    shape = trained.gaussian.mean.shape
    noise = torch.randn((_DRAWS, *shape), generator=generator)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(chosen), _CHUNK):
        for name, scores in _score(trained, chosen[start : start + _CHUNK], noise).items():
            parts.setdefault(name, []).append(scores)
        on_progress(min(1.0, (start + _CHUNK) / len(chosen)))
    whole = {name: np.concatenate(scores) for name, scores in parts.items()}
    border = len(sides[0])
    return DenoisingLosses(
        training={name: scores[:border] for name, scores in whole.items()},
        held_out={name: scores[border:] for name, scores in whole.items()},
        training_index=sides[0],
        held_out_index=sides[1],
    )


def _score(
    trained: "TrainedGenerator", images: np.ndarray, noise: "Tensor"
) -> dict[str, np.ndarray]:
    """Score a few images: float64 [n] by attack. Levels are joined as sums of logarithms."""
    import torch

    clean = torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1 - trained.gaussian.mean
    sima, loss, middle = (torch.zeros(len(images)).double() for _ in range(3))
    for level in _SIMA_LEVELS:
        sima += _log_power(_error(trained, clean, level, torch.zeros_like(clean[:1])))
    for level in _LOSS_LEVELS:
        errors = [_error(trained, clean, level, draw[None]) for draw in noise]
        loss += torch.stack([error.square().mean((1, 2, 3)) for error in errors]).mean(0).log()
        middle += torch.stack([_band_power(error) for error in errors]).mean(0).log()
    named = {"sima": sima, "denoising_loss": loss, "mid_frequency": middle}
    return {name: scores.numpy() for name, scores in named.items()}


def _error(trained: "TrainedGenerator", clean: "Tensor", level: float, noise: "Tensor") -> "Tensor":
    """Return y - D(y + sigma n; sigma), float64 [n, C, H, W]; y is clean minus mu."""
    import torch

    from client_agent.generator.network import network_inputs

    gaussian = trained.gaussian
    with torch.inference_mode():
        sigma = torch.full((1,), level * gaussian.sigma_data)
        noisy = clean + sigma * noise
        linear = gaussian.estimate(noisy, sigma)
        raw = trained.network(*network_inputs(gaussian, noisy, linear, sigma))
        return (clean - linear - gaussian.error(sigma) * raw).double()


def _log_power(error: "Tensor") -> "Tensor":
    return error.square().mean((1, 2, 3)).clamp_min(1e-20).log()


def _band_power(error: "Tensor") -> "Tensor":
    """Return the energy between the two frequencies of `_BAND`, float64 [n]."""
    import torch

    rows, columns = (torch.fft.fftfreq(side) for side in error.shape[2:])
    frequency = (rows[:, None] ** 2 + columns**2).sqrt()
    inside = (frequency >= _BAND[0]) & (frequency < _BAND[1])
    power = torch.fft.fft2(error).abs().square().sum(1)
    return power[:, inside].mean(1).clamp_min(1e-20)
