"""Who holds what: four ways of dividing a training set over hospitals.

Every training image is at exactly one site, whatever the split; the same seed gives the same
division.
"""

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import UsageError

SPLITS = ("silos", "two", "dirichlet", "scanners")
DIRICHLET_ALPHA = 0.1
_MOST_SITES_BY_DEFAULT = {"dirichlet": 8, "scanners": 4}
_HOLDERS = 2

Members = NDArray[np.int64]


def divide(
    labels: NDArray[np.int64], split: str, *, seed: int, sites: int | None = None
) -> tuple[Members, ...]:
    """Divide images over sites.

    - `silos`: one class a site.
    - `two`: two classes a site, paired by the seed; an odd class stands alone.
    - `dirichlet`: each class is shared out in proportions drawn from Dirichlet(0.1)
      (arXiv 1909.06335), over 8 sites, or as many as there are classes if fewer.
    - `scanners`: each class lies at two or more of 4 sites (or as many as there are classes if
      fewer), whose scanners differ (`scanners`).

    Args:
        labels: of the training images, int64 [n].
        split: one of `SPLITS`.
        seed: of everything random.
        sites: number of sites for `dirichlet` and `scanners`; the others follow from the classes.

    Returns:
        for each site the sorted indices of its images; sites without an image are left out.

    Raises:
        UsageError: an unknown split, or sites where they cannot be chosen.
    """
    if split not in SPLITS:
        raise UsageError(f"split {split!r} is unknown", hint=f"choose from {', '.join(SPLITS)}")
    held = np.unique(labels)
    if split in _MOST_SITES_BY_DEFAULT:
        sites = sites or max(2, min(_MOST_SITES_BY_DEFAULT[split], len(held)))
        if sites < 2:
            raise UsageError("a federation has at least two sites")
    elif sites is not None:
        raise UsageError(f"the number of sites follows from the classes in split {split!r}")
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
    if split == "silos":
        parts = [np.flatnonzero(labels == label) for label in held]
    elif split == "two":
        order = random.permutation(held)
        parts = [
            np.flatnonzero(np.isin(labels, order[start : start + 2]))
            for start in range(0, len(order), 2)
        ]
    else:
        assert sites is not None
        share = _dirichlet if split == "dirichlet" else _scanners
        by_site: list[list[Members]] = [[] for _ in range(sites)]
        for position, label in enumerate(held):
            members = random.permutation(np.flatnonzero(labels == label))
            cuts = share(len(members), position, sites, len(held), random)
            for site, part in enumerate(np.split(members, cuts)):
                by_site[site].append(part)
        parts = [np.sort(np.concatenate(own)) for own in by_site]
    return tuple(part.astype(np.int64) for part in parts if len(part))


def _dirichlet(
    count: int, position: int, sites: int, classes: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Where to cut `count` images of one class so that the sites' shares are Dirichlet."""
    shares = random.dirichlet(np.full(sites, DIRICHLET_ALPHA))
    return np.rint(np.cumsum(shares)[:-1] * count).astype(np.int64)


def _scanners(
    count: int, position: int, sites: int, classes: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Where to cut so that the class's holders share it evenly and the others have none."""
    holders = {site for site in range(sites) if site % classes == position}
    holders |= {(position + offset) % sites for offset in range(_HOLDERS)}
    held = np.isin(np.arange(sites), sorted(holders)).cumsum()
    return (held[:-1] * count) // len(holders)
