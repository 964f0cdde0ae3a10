"""The Gaussian that fits a class: what a denoiser knows before anything is learnt.

For data ~ N(mu, C) the best denoiser is linear (the Wiener filter), and at high noise it is nearly
the best for any data (Wang and Vastola, arXiv 2311.10892). So the network is asked for the rest
only: D(x; sigma) = mu + W(sigma) (x - mu) + c_out(sigma) F. EDM's preconditioning (arXiv
2206.00364, table 1) is the special case C = sigma_data^2 I. For the same reason sampling can begin
at a few times sigma_data, from noise given the covariance C + sigma^2 I, where plain noise would
need a start far higher and the steps down from there; and, closer still, from a mixture with that
covariance (mixture.py).

C is kept as its leading principal components and one variance for all other directions. A basis of
k components needs 32 k images or more: resting on fewer, they tell whose they are before anything
is learnt (membership AUC 0.83 at 8 images a component, 0.62 at 32; docs/benchmarks.md).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client_agent.generator.mixture import Mixture, fit_mixture, one_part
from client_agent.generator.spectrum import Spectrum

MAX_COMPONENTS = 128
IMAGES_PER_COMPONENT = 32
# 1 MiB in the module, stored in half precision: large images get fewer components.
_BASIS_ENTRIES = 2**19
# 512 MiB of float32 while the components are worked out.
_SAMPLE_ENTRIES = 2**27
# A class of identical images has no spread; the floor is one grey level.
_LEAST_SPREAD = 1 / 255


@dataclass(frozen=True, eq=False)
class ClassGaussian:
    """N(mu, U diag(variances) U^T + rest (I - U U^T)), over images in [-1, 1].

    Attributes:
        mean: mu, float32 [C, H, W].
        basis: U, orthonormal columns, float32 [C * H * W, k], exact in half precision; k >= 1.
        variances: along the columns of U, falling, float64 [k].
        rest: along every other direction.
        sigma_data: root mean square of an image minus mu.
        mixture: of what sampling starts from along the columns of U; None: the Gaussian itself.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    rest: float
    sigma_data: float
    mixture: Mixture | None = None

    def to(self, device: torch.device | str) -> "ClassGaussian":
        """Return the same Gaussian on `device`; small parts of it stay on the processor."""
        return replace(self, mean=self.mean.to(device), basis=self.basis.to(device))

    def estimate(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return W(sigma) x, the linear estimate of the clean image.

        Args:
            x: noisy images minus mu, float32 [n, C, H, W].
            sigma: noise levels, float32 [n].
        """
        noise = sigma[:, None] ** 2
        return self._filter(x, *(v / (v + noise) for v in self._spectrum(x)))

    def colour(self, noise: Tensor, sigma: float) -> Tensor:
        """Turn unit noise into noisy images minus mu, both float32 [n, C, H, W].

        They are draws of N(0, C + sigma^2 I), or of the mixture where there is one.
        """
        start = self.start
        part = start.part(noise.reshape(len(noise), -1))
        along = start.scales(sigma).to(noise)[part]
        rest = torch.full((1, 1), (self.rest + sigma**2) ** 0.5).to(noise)
        shift = start.means.to(noise)[part] @ self.basis.T
        return self._filter(noise, along, rest) + shift.reshape(noise.shape)

    def error(self, sigma: Tensor) -> Tensor:
        """Return the root mean square error that the linear estimate leaves.

        Args:
            sigma: noise levels, floating [n].

        Returns:
            of the type and shape of `sigma`.
        """
        size = self.mean.numel()
        noise = sigma[:, None] ** 2
        kept, others = (v * noise / (v + noise) for v in self._spectrum(sigma))
        return ((kept.sum(1) + (size - kept.shape[1]) * others[:, 0]) / size).sqrt()

    @property
    def start(self) -> Mixture:
        """What sampling starts from: the mixture, or without one the Gaussian as its only part."""
        return self.mixture or one_part(self.variances)

    @property
    def spectrum(self) -> Spectrum:
        """C's eigenvalues as numbers."""
        return Spectrum(self.variances.numpy(), self.rest, self.mean.numel())

    def _spectrum(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """C's eigenvalues [1, k] and [1, 1], of the type and on the device of `like`."""
        return self.variances.to(like)[None], torch.full((1, 1), self.rest).to(like)

    def _filter(self, x: Tensor, along: Tensor, rest: Tensor) -> Tensor:
        """Multiply by `along` [n or 1, k] in the span of U and by `rest` [n or 1, 1] beside it."""
        flat = x.reshape(len(x), -1)
        return (rest * flat + ((flat @ self.basis) * (along - rest)) @ self.basis.T).reshape(
            x.shape
        )


def fit_gaussian(data: Tensor, seed: int = 0, start: float | None = None) -> ClassGaussian:
    """Fit the Gaussian of a class.

    Args:
        data: uint8 [n, C, H, W].
        seed: of the randomised search for the components; torch's global state is left alone.
        start: noise level at which sampling starts, in units of sigma_data; None: no mixture.
    """
    total = sum((chunk.double().sum(0) for chunk in data.split(256)), torch.zeros(1).double())
    mean = (total / len(data) / 127.5 - 1).float()
    size = mean.numel()
    # Evenly spaced images stand for a class too large to hold in float32.
    every = math.ceil(len(data) * size / _SAMPLE_ENTRIES)
    centred = (data[::every].float() / 127.5 - 1 - mean).reshape(-1, size)
    power = float(sum(chunk.double().square().sum() for chunk in centred.split(256)))
    power /= len(centred)
    count = min(MAX_COMPONENTS, len(centred) // IMAGES_PER_COMPONENT, _BASIS_ENTRIES // size)
    count = max(1, min(count, size // 2))
    # Identical images have no components: one direction of no length stands for them.
    basis, variances = torch.zeros(size, count), torch.zeros(count).double()
    if power > 0:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, singular, right = torch.svd_lowrank(centred, q=count + 8, niter=4)
        # Both torch and the exported module compute with the rounded basis.
        basis = right[:, :count].contiguous().half().float()
        variances = singular[:count].double() ** 2 / len(centred)
    floor = _LEAST_SPREAD**2
    rest = (power - float(variances.sum())) / (size - count)
    variances = variances.clamp_min(floor)
    sigma_data = max((power / size) ** 0.5, _LEAST_SPREAD)
    mixture = None
    if start is not None:
        # The number that the components have least of is independent of them, or nearly so.
        pixel = int(basis.square().sum(1).argmin())
        mixture = fit_mixture(centred @ basis, variances, pixel, start * sigma_data)
    return ClassGaussian(mean, basis, variances, max(rest, floor), sigma_data, mixture)
