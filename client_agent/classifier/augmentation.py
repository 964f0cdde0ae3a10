"""Shuffled batches of training images, each moved a little and lit a little differently.

What is varied here is what differs between two pictures of the same patient, and between a real
image and a synthetic one, without changing the diagnosis: place, contrast, brightness, and the
balance of colours. No mirroring: left and right are not alike in a body.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_agent.classifier.settings import ClassifierSettings


def batches(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    settings: ClassifierSettings,
    random: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one pass over the set in whole batches: uint8 [b, H, W, C] and int64 [b].

    Args:
        images: uint8 [n, H, W, C].
        labels: int64 [n].
        settings: size of a batch and strength of every variation.
        random: decides order and variations; nothing else does.
    """
    order = random.permutation(len(images))
    size = settings.batch_for(len(images))
    shift = settings.max_shift(images.shape[1])
    for step in range(settings.steps_per_epoch(len(images))):
        chosen = order[step * size : (step + 1) * size]
        batch = relit(shifted(images[chosen], shift, random), settings, random)
        yield torch.from_numpy(batch), torch.from_numpy(labels[chosen].astype(np.int64))


def shifted(
    images: NDArray[np.uint8], shift: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Move each image by up to `shift` pixels; the border repeats."""
    size = images.shape[1]
    moves = random.integers(-shift, shift + 1, size=(2, len(images), 1))
    rows, columns = np.clip(np.arange(size) + moves, 0, size - 1)
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


def relit(
    images: NDArray[np.uint8], settings: ClassifierSettings, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Change each image's contrast about its mean, its brightness, and its channels' gains."""
    count, height, width, channels = images.shape
    limit = np.log1p(settings.contrast)
    contrast = np.exp(random.uniform(-limit, limit, (count, 1, 1, 1)))
    brightness = random.uniform(-1, 1, (count, 1, 1, 1)) * settings.brightness * 255
    gain = np.ones((count, 1, 1, channels))
    if channels > 1:
        gain += random.uniform(-1, 1, gain.shape) * settings.colour
    # An integer sum is the same in whatever order a processor adds.
    mean = images.sum((1, 2), dtype=np.int64, keepdims=True) / (height * width)
    scale, offset = contrast * gain, gain * mean * (1 - contrast) + brightness
    lit = images * scale.astype(np.float32) + offset.astype(np.float32)
    return np.rint(lit).clip(0, 255).astype(np.uint8)
