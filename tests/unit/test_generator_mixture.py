"""The mixture that sampling starts from: what it fits, whom it rests on, what decides the part."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from client_agent.generator.gaussian import fit_gaussian  # noqa: E402
from client_agent.generator.mixture import IMAGES_PER_PART, MAX_PARTS, fit_mixture  # noqa: E402

SIDE = 8
START = 4.0


def two_kinds(count: int = 640, share: float = 0.25, seed: int = 0) -> torch.Tensor:
    """Grey images that are dark above or below, by two kinds of different frequency."""
    random = np.random.default_rng(seed)
    up = np.where(np.arange(SIDE) < SIDE // 2, 1.0, -1.0)[None, :, None]
    kind = np.where(random.random(count) < share, 1.0, -1.0)[:, None, None]
    values = 128 + 60 * kind * up + 4 * random.standard_normal((count, SIDE, SIDE))
    return torch.from_numpy(values.round().clip(0, 255).astype(np.uint8))[:, None]


def noise(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def lengthwise(images: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    return images.reshape(len(images), -1).double() @ basis[:, 0].double()


def test_two_kinds_of_images_are_two_kinds_of_starts_in_their_proportion():
    gaussian = fit_gaussian(two_kinds(), start=START)
    starts = lengthwise(gaussian.colour(noise(20_000), 0.2), gaussian.basis)
    real = lengthwise(two_kinds().float() / 127.5 - 1 - gaussian.mean, gaussian.basis)
    middle = float(real.max() + real.min()) / 2
    assert float((starts > middle).double().mean()) == pytest.approx(
        float((real > middle).double().mean()), abs=0.02
    )
    # Nothing lies where no image is; the Gaussian of the class has a fifth of its draws there.
    width = float(real.max() - real.min())
    between = (starts - middle).abs() < 0.2 * width
    plain = fit_gaussian(two_kinds())
    drawn = lengthwise(plain.colour(noise(20_000), 0.2), plain.basis)
    assert float(between.double().mean()) < 0.05
    assert float(((drawn - middle).abs() < 0.2 * width).double().mean()) > 0.15


def test_starts_have_mean_and_covariance_of_noisy_images():
    data = two_kinds(4000)
    gaussian = fit_gaussian(data, start=1.0)
    assert gaussian.mixture is not None
    assert len(gaussian.mixture.means) > 1
    starts = gaussian.colour(noise(60_000), 1.0).reshape(60_000, -1).double().numpy()
    wanted = np.cov(data.reshape(len(data), -1).numpy() / 127.5 - 1, rowvar=False)
    wanted += np.eye(SIDE * SIDE)
    assert np.abs(starts.mean(0)).max() < 0.03
    assert np.abs(np.cov(starts, rowvar=False) - wanted).max() < 0.06


@pytest.mark.parametrize("count", [64, 100, 640])
def test_every_part_rests_on_enough_images_and_an_outlier_gets_none(count: int):
    data = two_kinds(count)
    data[0] = 255 * (torch.arange(SIDE) % 2)[None, :, None]
    mixture = fit_gaussian(data, start=START).mixture
    assert mixture is not None
    edges = torch.cat([torch.zeros(1), torch.special.ndtr(mixture.bounds), torch.ones(1)])
    assert float(edges.diff().min()) * count > IMAGES_PER_PART - 0.5
    assert len(mixture.means) <= min(MAX_PARTS, count // IMAGES_PER_PART)


@pytest.mark.parametrize("data", [two_kinds(63), torch.full((200, 1, SIDE, SIDE), 9).byte()])
def test_few_or_identical_images_start_from_their_gaussian(data: torch.Tensor):
    plain, gaussian = fit_gaussian(data), fit_gaussian(data, start=START)
    assert gaussian.mixture is not None
    assert len(gaussian.mixture.means) == 1
    x = noise(50)
    assert torch.allclose(gaussian.colour(x, 0.3), plain.colour(x, 0.3), atol=1e-6)


def test_one_number_of_the_noise_decides_the_part_and_nothing_else_does():
    gaussian = fit_gaussian(two_kinds(), start=START)
    mixture = gaussian.mixture
    assert mixture is not None
    bounds = mixture.bounds
    flat = noise(len(bounds) + 1).reshape(len(bounds) + 1, -1)
    flat[:, mixture.pixel] = torch.cat([bounds, torch.tensor([9.0])])
    # A number that equals a bound lies below it, however it is rounded elsewhere.
    assert mixture.part(flat).tolist() == list(range(len(bounds) + 1))
    flat[:, mixture.pixel] = 0.0
    assert len(set(mixture.part(flat).tolist())) == 1
    # That number has next to nothing to do with the noise along which the parts differ.
    assert float(gaussian.basis[mixture.pixel, 0].square()) < 0.02


def test_the_same_images_give_the_same_mixture_and_global_randomness_is_left_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    torch.manual_seed(5)
    first, second = (fit_gaussian(two_kinds(), start=START).mixture for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.bounds, second.bounds)
    assert np.array_equal(before, np.random.get_state()[1])
    assert torch.initial_seed() == 5


def test_a_class_of_very_many_images_is_represented_by_some_of_them():
    values = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(3))
    values[:, 0] += 20 * (torch.arange(40_000) % 2)
    variances = torch.tensor([101.0, 1.0]).double()
    mixture = fit_mixture(values, variances, pixel=0, sigma=1.0)
    assert 2 <= len(mixture.means) <= MAX_PARTS
    assert float(mixture.means[:, 0].max()) == pytest.approx(20, abs=1.5)
