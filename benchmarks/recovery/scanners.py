"""Simulated scanners: the same anatomy with another contrast, brightness, gamma and noise.

The shift is part of the site: all its training images went through its scanner. Validation and
test images carry the shifts too, each that of a scanner drawn whatever its class, because a
classifier must serve every site.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1024


@dataclass(frozen=True)
class Scanner:
    """How a device renders: grey levels v in [0, 1] become gain (v^gamma - 1/2) + 1/2 + offset + n.

    Attributes:
        gain: contrast.
        offset: brightness.
        gamma: tone curve.
        noise: standard deviation of n, independent Gaussian noise.
    """

    gain: float
    offset: float
    gamma: float
    noise: float

    def render(self, images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Return `images`, uint8 [n, H, W, C], as this device would have taken them."""
        result = np.empty_like(images)
        for start in range(0, len(images), _CHUNK):
            v = images[start : start + _CHUNK].astype(np.float32) / 255
            v = self.gain * (v**self.gamma - 0.5) + 0.5 + self.offset
            v += self.noise * random.standard_normal(v.shape, dtype=np.float32)
            result[start : start + _CHUNK] = np.rint(np.clip(v, 0, 1) * 255).astype(np.uint8)
        return result


def make_scanners(count: int, seed: int) -> tuple[Scanner, ...]:
    """Draw `count` devices; contrast varies by a third, noise is up to 12 of 255 grey levels."""
    random = _generator(seed, 0)
    return tuple(
        Scanner(
            gain=float(random.uniform(0.7, 1.3)),
            offset=float(random.uniform(-0.08, 0.08)),
            gamma=float(np.exp(random.uniform(-0.35, 0.35))),
            noise=float(random.uniform(0.0, 12 / 255)),
        )
        for _ in range(count)
    )


def render_site(
    images: NDArray[np.uint8], scanner: Scanner, site: int, seed: int
) -> NDArray[np.uint8]:
    """Return the images of site number `site` as its scanner took them."""
    return scanner.render(images, _generator(seed, 1, site))


def render_mixed(
    images: NDArray[np.uint8], scanners: Sequence[Scanner], part: int, seed: int
) -> NDArray[np.uint8]:
    """Return each image as one scanner, drawn for it, would have taken it.

    Args:
        images: uint8 [n, H, W, C].
        scanners: of all sites.
        part: tells several sets of images apart.
        seed: of the draw and the noise.
    """
    random = _generator(seed, 2, part)
    which = random.integers(0, len(scanners), len(images))
    result = np.empty_like(images)
    for number, scanner in enumerate(scanners):
        chosen = which == number
        result[chosen] = scanner.render(images[chosen], random)
    return result


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([*key, 77])))
