"""What an image shows, whatever device took it: coarse layout and edge directions.

Every image is rendered several times as another device might have, with another contrast, tone
curve, brightness and noise, so that a comparison cannot tell classes apart by their scanners.
What is left is told by pixels of a coarse grid, each image standardised, and by histograms of
oriented gradients (Dalal and Triggs, CVPR 2005). No network, nothing downloaded.
"""

import numpy as np
from numpy.typing import NDArray

RENDERINGS = 3
"""Devices that every image is rendered by."""

_GRID, _EDGE_GRID, _CELLS, _DIRECTIONS = 8, 14, 4, 8
_SEED = 0x5EED
_CONTRAST, _TONE, _BRIGHTNESS, _NOISE = 0.6, 0.8, 0.15, 40 / 255

Floats = NDArray[np.float32]


def features(images: NDArray[np.uint8]) -> Floats:
    """Describe images; the same images have the same description.

    Args:
        images: uint8 [n, H, W, C].

    Returns:
        float32 [n, RENDERINGS, d].
    """
    random = np.random.Generator(np.random.Philox(_SEED))
    return np.stack([_describe(_render(images, random)) for _ in range(RENDERINGS)], axis=1)


def _render(images: NDArray[np.uint8], random: np.random.Generator) -> Floats:
    """Grey levels v become gain (v^gamma - 1/2) + 1/2 + offset + noise, drawn for each image."""

    def draw(low: float, high: float) -> Floats:
        return random.uniform(low, high, (len(images), 1, 1, 1)).astype(np.float32)

    v = images.astype(np.float32) / 255
    v = np.exp(draw(-_CONTRAST, _CONTRAST)) * (v ** np.exp(draw(-_TONE, _TONE)) - 0.5) + 0.5
    v += draw(-_BRIGHTNESS, _BRIGHTNESS)
    v += draw(0, _NOISE) * random.standard_normal(v.shape, dtype=np.float32)
    return np.clip(v, 0, 1)


def _describe(v: Floats) -> Floats:
    """float32 [n, H, W, C] in [0, 1] to [n, d]."""
    layout = _standardise(_pool(v, _GRID)).reshape(len(v), -1)
    return np.concatenate([layout, _edges(v)], axis=1)


def _edges(v: Floats) -> Floats:
    """Histograms of gradient directions over cells, of length sqrt(d) each image."""
    grey = _standardise(_pool(v, _EDGE_GRID)).mean(axis=3)
    down, right = np.gradient(grey, axis=1), np.gradient(grey, axis=2)
    strength = np.hypot(right, down)
    turn = (np.arctan2(down, right) % (2 * np.pi)) / (2 * np.pi)
    which = np.minimum((turn * _DIRECTIONS).astype(int), _DIRECTIONS - 1)
    sorted_out = np.where(which[..., None] == np.arange(_DIRECTIONS), strength[..., None], 0)
    histograms = _pool(sorted_out.astype(np.float32), _CELLS).reshape(len(v), -1)
    length = np.linalg.norm(histograms, axis=1, keepdims=True) + np.float32(1e-6)
    scaled: Floats = histograms / length * np.float32(np.sqrt(histograms.shape[1]))
    return scaled


def _standardise(v: Floats) -> Floats:
    """Mean 0 and spread 1 over all pixels and channels of each image."""
    axes = (1, 2, 3)
    scaled: Floats = (v - v.mean(axis=axes, keepdims=True)) / (
        v.std(axis=axes, keepdims=True) + np.float32(1e-3)
    )
    return scaled


def _pool(v: Floats, cells: int) -> Floats:
    """Average over a grid of at most `cells` x `cells` areas."""
    rows, columns = _areas(v.shape[1], cells), _areas(v.shape[2], cells)
    pooled: Floats = np.einsum("ih,nhwc,jw->nijc", rows, v, columns, optimize=True)
    return pooled


def _areas(size: int, cells: int) -> Floats:
    """Weights [cells, size] with which pixels enter each area; borders cut through pixels."""
    edges = np.linspace(0, size, min(cells, size) + 1)
    low, high = (
        np.maximum.outer(edges[:-1], np.arange(size)),
        np.minimum.outer(edges[1:], np.arange(1, size + 1)),
    )
    overlap = np.clip(high - low, 0, None)
    weights: Floats = (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
