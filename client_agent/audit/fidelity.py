"""How good samples are, on features: Frechet and kernel distance, four neighbour counts.

The names are the field's, the features are the site's own, so figures of two sites do not compare.
"""

from dataclasses import dataclass

import numpy as np

_NEIGHBOURS = 5


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Frechet distance of two sets' Gaussians (FID, Heusel et al., arXiv 1706.08500).

    Biased upwards for few images.

    Args:
        one, other: features, float [n, d] and [m, d], two rows or more.
    """
    from scipy.linalg import eigvalsh

    gap = float(((one.mean(0) - other.mean(0)) ** 2).sum())
    first, second = (np.cov(rows, rowvar=False).reshape(rows.shape[1], -1) for rows in (one, other))
    # trace sqrt(AB) = sum of the roots of the eigenvalues of A^1/2 B A^1/2.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(eigvalsh(root @ second @ root), 0)).sum()
    return max(0.0, gap + float(np.trace(first) + np.trace(second) - 2 * shared))


def kernel_distance(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy (KID, Binkowski et al., arXiv 1801.01401).

    Kernel (x . y / d + 1)^3, unbiased for any number of images, and so sometimes below 0.

    Args:
        one, other: features, float [n, d] and [m, d], three rows or more.

    Returns:
        the estimate and its standard error (jackknife over the rows of both sets).
    """
    size = one.shape[1]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / size + 1) ** 3

    def within(rows: np.ndarray) -> np.ndarray:
        values = kernel(rows, rows)
        return values.sum(1) - np.diagonal(values)

    across = kernel(one, other)
    inner, total = (within(one), within(other)), across.sum()
    estimate, variance = -2 * total / across.size, 0.0
    for rows, cross in zip(inner, (across.sum(1), across.sum(0)), strict=True):
        n = len(rows)
        m = across.size // n
        estimate += rows.sum() / (n * (n - 1))
        # What changes when one row is left out; the other set's own term does not.
        without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2))
        without -= 2 * (total - cross) / ((n - 1) * m)
        variance += (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    return float(estimate), variance**0.5


@dataclass(frozen=True, eq=False)
class NeighbourCounts:
    """Per-image outcomes; the figures are their means.

    Attributes:
        precision: fake lies within the k-th neighbour distance of some real, bool [fakes]
            (Kynkaanniemi et al., arXiv 1904.06991).
        recall: real lies within the k-th neighbour distance of some fake, bool [reals].
        density: how many reals' neighbourhoods the fake lies in, over k, float [fakes] (Naeem et
            al., arXiv 2002.09797); may exceed 1.
        coverage: real has a fake in its neighbourhood, bool [reals].
    """

    precision: np.ndarray
    recall: np.ndarray
    density: np.ndarray
    coverage: np.ndarray


def neighbour_counts(
    real: np.ndarray, fake: np.ndarray, neighbours: int = _NEIGHBOURS
) -> NeighbourCounts:
    """Count neighbours of both kinds.

    Args:
        real, fake: features, float [n, d] and [m, d], more rows than `neighbours`.
        neighbours: k.
    """
    import torch

    from client_agent.audit.distances import euclidean

    reals, fakes = torch.from_numpy(real).float(), torch.from_numpy(fake).float()

    def reach(rows: torch.Tensor) -> torch.Tensor:
        # The row itself is the nearest of its neighbours: hence k + 1.
        return euclidean(rows, rows).kthvalue(min(neighbours + 1, len(rows)), dim=1).values

    between = euclidean(reals, fakes)
    inside = between < reach(reals)[:, None]
    return NeighbourCounts(
        precision=inside.any(0).numpy(),
        recall=(between < reach(fakes)[None]).any(1).numpy(),
        density=(inside.sum(0).double() / neighbours).numpy(),
        coverage=inside.any(1).numpy(),
    )
