"""Drawing real images anew by the generator of their own class: content kept, texture replaced.

The image is noised to a level at which signal and noise are alike, and the module's own sampler
brings it back from there (SDEdit, arXiv 2108.01073).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.arms.modules import SYNTHESIS_BATCH, trained_module
from benchmarks.recovery.task import Task
from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.presets import preset_for
from client_agent.generator.sampler import sample, solver_table
from client_agent.generator.training import Budget

LEVEL = 1.0
"""Noise level to start from, in units of the class's own spread."""
_FEWEST_STEPS = 3


@dataclass(frozen=True, eq=False)
class _FromHere(ClassGaussian):
    """A class's Gaussian for a sampler that begins at given images instead of at noise."""

    def colour(self, noise: Tensor, sigma: float) -> Tensor:
        return noise


def rerender(task: Task, site: int, label: int, count: int, folder: Path) -> NDArray[np.uint8]:
    """Return up to `count` of a site's real images as its own generator draws them.

    Args:
        task: for the images and the seed.
        site, label: which class of which site.
        count: how many are wanted.
        folder: of its module, with the finished checkpoint.

    Returns:
        uint8 [n, H, W, C].
    """
    images = task.images_of(site, label)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([task.seed, site, label])))
    chosen = images[random.permutation(len(images))[:count]]
    preset = preset_for(task.preset, task.image_size, task.channels)
    # Its checkpoint is past a budget of one step: it comes back as it is.
    trained = trained_module(task, preset, site, label, folder, Budget(steps=1))
    gaussian = _FromHere(**vars(trained.gaussian))
    steps = max(_FEWEST_STEPS, preset.sampler_steps // 2)
    table = solver_table(steps, preset.sigma_min, LEVEL, preset.rho, gaussian)
    parts = []
    for start in range(0, len(chosen), SYNTHESIS_BATCH):
        batch = torch.from_numpy(chosen[start : start + SYNTHESIS_BATCH]).permute(0, 3, 1, 2)
        centred = batch.float() / 127.5 - 1 - gaussian.mean
        noise = torch.from_numpy(random.standard_normal(centred.shape, dtype=np.float32))
        begun = centred + float(table.sigma[0]) * noise
        drawn = sample(trained.network, table, gaussian, begun)
        parts.append((drawn * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)
