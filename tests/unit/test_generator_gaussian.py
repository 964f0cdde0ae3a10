"""The Gaussian of a class against closed forms, and its limits."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from client_agent.generator.gaussian import MAX_COMPONENTS, fit_gaussian  # noqa: E402


def images(count: int = 600, size: int = 6, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Grey images that vary strongly along three directions and weakly along all others."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((3, channels, size, size))
    weights = random.standard_normal((count, 3)) * (30, 20, 10)
    values = 128 + np.einsum("nk,kchw->nchw", weights, directions) / size
    values += 2 * random.standard_normal(values.shape)
    return torch.from_numpy(values.round().clip(0, 255).astype(np.uint8))


def covariance(data: torch.Tensor) -> np.ndarray:
    values = data.reshape(len(data), -1).numpy() / 127.5 - 1
    return np.cov(values.T, bias=True)


def test_the_covariance_is_that_of_the_images():
    data = images()
    gaussian = fit_gaussian(data)
    basis = gaussian.basis.double()
    inside = basis @ torch.diag(gaussian.variances - gaussian.rest) @ basis.T
    model = inside.numpy() + gaussian.rest * np.eye(len(inside))
    truth = covariance(data)
    assert np.abs(model - truth).max() < 0.03 * np.abs(truth).max()
    assert np.trace(model) == pytest.approx(np.trace(truth), rel=0.01)
    assert gaussian.sigma_data**2 * len(model) == pytest.approx(np.trace(truth), rel=0.01)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.5, 3.0])
def test_the_estimate_is_the_wiener_filter_and_its_error_what_was_said(sigma: float):
    data = images(4000)
    gaussian = fit_gaussian(data)
    clean = data.float() / 127.5 - 1 - gaussian.mean
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    estimate = gaussian.estimate(noisy, torch.tensor([sigma]))
    truth = covariance(data)
    wiener = truth @ np.linalg.inv(truth + sigma**2 * np.eye(len(truth)))
    best = (noisy.reshape(len(noisy), -1).double().numpy() @ wiener.T).reshape(noisy.shape)
    error = float((estimate - clean).square().mean().sqrt())
    assert error <= 1.02 * np.sqrt(((best - clean.numpy()) ** 2).mean())
    assert error == pytest.approx(float(gaussian.error(torch.tensor([sigma]))[0]), rel=0.03)


def test_coloured_noise_has_the_covariance_of_noisy_images():
    gaussian = fit_gaussian(images())
    noise = torch.randn(40_000, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    drawn = gaussian.colour(noise, 0.5).reshape(len(noise), -1).double().numpy()
    wanted = covariance(images()) + 0.25 * np.eye(36)
    assert np.abs(np.cov(drawn.T) - wanted).max() < 0.03


def test_every_component_rests_on_several_images_and_the_module_stays_small():
    assert fit_gaussian(images(96)).basis.shape == (36, 3)
    assert fit_gaussian(images(4096, size=20)).basis.shape[1] == MAX_COMPONENTS
    wide = torch.randint(0, 256, (80, 3, 200, 200), dtype=torch.uint8)
    assert 2 * fit_gaussian(wide).basis.numel() <= 2**20


def test_identical_images_give_a_narrow_gaussian_without_a_nan():
    gaussian = fit_gaussian(torch.full((20, 1, 8, 8), 77, dtype=torch.uint8))
    assert gaussian.sigma_data == pytest.approx(1 / 255)
    x = torch.randn(2, 1, 8, 8)
    assert gaussian.estimate(x, torch.tensor([0.1])).isfinite().all()
    assert gaussian.colour(x, 0.1).isfinite().all()


def test_the_same_images_give_the_same_bits_and_leave_the_callers_randomness_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = fit_gaussian(images()), fit_gaussian(images())
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(before, torch.get_rng_state())
