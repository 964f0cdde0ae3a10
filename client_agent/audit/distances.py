"""Distances between images: of pixels, and tolerant of flips, shifts and noise.

All are root mean squares in grey levels, 0 to 255, of images at most 32 px wide, computed in blocks
of bounded memory. Duplicated and constant images are ordinary input.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LARGEST_COMPARED = 32
_BLOCK = 512
_LOW_PASS = 12
# More pairs than this are compared under every second shift only.
_PAIRS_WITH_ALL_SHIFTS = 3_000_000


def shrink(images: np.ndarray) -> Tensor:
    """Return uint8 [n, H, W, C] as float32 [n, C, h, w] of grey levels, h and w at most 32."""
    height, width = (min(side, LARGEST_COMPARED) for side in images.shape[1:3])
    parts = []
    for start in range(0, len(images), _BLOCK):
        part = torch.tensor(images[start : start + _BLOCK]).permute(0, 3, 1, 2).float()
        if part.shape[2:] != (height, width):
            part = functional.adaptive_avg_pool2d(part, (height, width))
        parts.append(part)
    return torch.cat(parts)


class PixelMetric:
    """Root mean square difference of two images, pixel by pixel."""

    name = "pixels"

    def embed(self, images: Tensor) -> Tensor:
        """Return float32 [n, d] of shrunken images."""
        return images.flatten(1)

    def between(self, queries: Tensor, pool: Tensor) -> Tensor:
        """Return float32 [q, p] of embedded images."""
        return euclidean(queries, pool) / queries.shape[1] ** 0.5


class TolerantMetric:
    """The least root mean square difference over flips and shifts, of brightness without noise.

    Images are compared in grey, averaged down to 12 x 12 after cropping the margin that a shift
    moves across the edge: noise and the artefacts of compression mostly average out. Shifts go up
    to a fourteenth of the width in each direction, 2 pixels of 28. The near-copies that Carlini et
    al. (arXiv 2301.13188) and Somepalli et al. (arXiv 2212.03860) count are of this kind.
    """

    name = "tolerant"

    def embed(self, images: Tensor) -> Tensor:
        """Return the brightness, float32 [n, 1, h, w], of shrunken images."""
        return images.mean(1, keepdim=True)

    def between(self, queries: Tensor, pool: Tensor) -> Tensor:
        """Return float32 [q, p] of embedded images."""
        reach = max(1, round(queries.shape[-1] / 14))
        every = 1 if len(queries) * len(pool) <= _PAIRS_WITH_ALL_SHIFTS else reach
        middle = _low_pass(queries, reach, 0, 0)
        least = torch.full((len(queries), len(pool)), torch.inf)
        for mirrored in _flips(pool):
            for down in range(-reach, reach + 1, every):
                for right in range(-reach, reach + 1, every):
                    moved = _low_pass(mirrored, reach, down, right)
                    torch.minimum(least, euclidean(middle, moved), out=least)
        return least / middle.shape[1] ** 0.5


class VectorMetric:
    """Euclidean distance of given vectors, such as features."""

    name = "features"

    def embed(self, vectors: Tensor) -> Tensor:
        """Return them as they are."""
        return vectors

    def between(self, queries: Tensor, pool: Tensor) -> Tensor:
        """Return float32 [q, p]."""
        return euclidean(queries, pool)


Metric = PixelMetric | TolerantMetric | VectorMetric


@dataclass(frozen=True, eq=False)
class Nearest:
    """The closest pairs between queries and a pool.

    Attributes:
        of_queries: distance of each query to the nearest of the pool, float64 [q].
        which: that one's index, int64 [q].
        of_pool: distance of each of the pool to the nearest query, float64 [p].
    """

    of_queries: np.ndarray
    which: np.ndarray
    of_pool: np.ndarray


def nearest(metric: Metric, queries: Tensor, pool: Tensor, *, same: bool = False) -> Nearest:
    """Compare every query with all of the pool, block by block.

    Args:
        metric: how.
        queries, pool: as `metric.embed` gives them.
        same: both are one set, and nothing is its own neighbour; then there must be two or more.
    """
    distances, which = [], []
    of_pool = torch.full((len(pool),), torch.inf)
    for start, block in _blocks(queries):
        between = metric.between(block, pool)
        if same:
            rows = torch.arange(len(block))
            between[rows, rows + start] = torch.inf
        least, place = between.min(1)
        distances.append(least)
        which.append(place)
        torch.minimum(of_pool, between.min(0).values, out=of_pool)
    return Nearest(
        torch.cat(distances).double().numpy(),
        torch.cat(which).numpy(),
        of_pool.double().numpy(),
    )


def euclidean(one: Tensor, other: Tensor) -> Tensor:
    """Return the distances between the rows of two matrices, float32 [n, m]; equal rows give 0."""
    # Centring keeps the squares small, and so the rounding of the quick formula.
    centre = other.mean(0)
    one, other = one - centre, other - centre
    lengths = one.square().sum(1)[:, None] + other.square().sum(1)
    squares = torch.addmm(lengths, one, other.T, alpha=-2)
    # What rounding leaves of an exact 0.
    squares[squares < 2e-6 * lengths] = 0
    return squares.clamp_min_(0).sqrt_()


def _blocks(queries: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(queries), _BLOCK):
        yield start, queries[start : start + _BLOCK]


def _flips(images: Tensor) -> tuple[Tensor, ...]:
    return images, images.flip(3), images.flip(2), images.flip((2, 3))


def _low_pass(images: Tensor, reach: int, down: int, right: int) -> Tensor:
    """Cut out what lies `down` and `right` of the middle, averaged to 12 x 12 and flattened."""
    height, width = images.shape[2] - 2 * reach, images.shape[3] - 2 * reach
    top, left = reach + down, reach + right
    cut = images[:, :, top : top + height, left : left + width]
    size = (min(_LOW_PASS, height), min(_LOW_PASS, width))
    return functional.adaptive_avg_pool2d(cut, size).flatten(1)
