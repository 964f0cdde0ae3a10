"""Differential privacy: the plan, clipping of each image, noise, and what the card says."""

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.errors import UsageError  # noqa: E402
from client_agent.generator import training  # noqa: E402
from client_agent.generator.gaussian import fit_gaussian  # noqa: E402
from client_agent.generator.network import RawNetwork, denoising_loss  # noqa: E402
from client_agent.generator.presets import preset_for  # noqa: E402
from client_agent.generator.privacy import (  # noqa: E402
    PrivacyPlan,
    PrivacyTarget,
    plan_privacy,
    private_preset,
)
from client_agent.generator.private_gaussian import (  # noqa: E402
    clip_rows,
    cosine_basis,
    fit_private_gaussian,
    symmetric_noise,
)
from client_agent.generator.private_gradients import (  # noqa: E402
    NOISE_MULTIPLICITY,
    PrivateGradients,
)
from client_agent.generator.training import Budget, train_generator  # noqa: E402
from client_agent.module.packing import training_card  # noqa: E402
from tests.unit.test_generator_training import StopAt, bars, same_weights  # noqa: E402

SMALL = preset_for("tiny", 8, 1, block_out_channels=(16,), patch=2, sampler_steps=2)
TARGET = PrivacyTarget(8.0, 1e-5)
PLAN = PrivacyPlan(
    delta=1e-5, images=64, steps=6, sample_rate=0.5, noise_multiplier=1.5, statistics_noise=4.0
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch(count: int) -> tuple[torch.Tensor, ...]:
    """Images minus their mean, noise levels and noise of the first `count` of eight images."""
    generator = torch.Generator().manual_seed(4)
    shape = (8, NOISE_MULTIPLICITY)
    centred = torch.rand(8, 1, 1, 8, 8, generator=generator) * 2 - 1
    sigma = torch.rand(shape, generator=generator) + 0.1
    noise = torch.randn(*shape, 1, 8, 8, generator=generator)
    return centred.expand(*shape, 1, 8, 8)[:count], sigma[:count], noise[:count]


def network() -> RawNetwork:
    torch.manual_seed(0)
    result = RawNetwork(SMALL)
    with torch.no_grad():  # the UNet's last layers start at zero, which hides half the gradients
        for values in result.parameters():
            values.add_(0.05 * torch.randn_like(values))
    return result


GAUSSIAN = fit_gaussian(torch.from_numpy(bars()).permute(0, 3, 1, 2))


def loss(net, centred, sigma, noise):
    return denoising_loss(net, GAUSSIAN, centred, sigma, noise)


def flat_gradient(net) -> torch.Tensor:
    return torch.cat([values.grad.reshape(-1) for values in net.parameters()])


def noiseless(bound: float):
    return dataclasses.replace(PLAN, noise_multiplier=0.0, max_grad_norm=bound)


def private_sum(count: int, bound: float, threads: int = 1) -> torch.Tensor:
    net = network()
    plan = noiseless(bound)
    gradients = PrivateGradients(net, plan, threads)
    gradients.fill(loss, *batch(count))
    gradients.close()
    return flat_gradient(net) * plan.expected_batch


@pytest.mark.parametrize("bound", [0.05, 1e6])
def test_each_images_own_gradient_is_clipped_before_any_is_added(bound):
    expected = torch.zeros(1)
    for index in range(3):
        net = network()
        loss(net, *(tensor[index] for tensor in batch(3))).backward()
        own = flat_gradient(net)
        expected = expected + own * min(1.0, bound / float(own.norm()))
    assert torch.allclose(private_sum(3, bound), expected, rtol=1e-4, atol=1e-6)


def test_one_image_more_moves_the_sum_by_no_more_than_the_bound():
    bound = 0.05
    moved = private_sum(4, bound) - private_sum(3, bound)
    assert float(moved.norm()) == pytest.approx(bound, rel=1e-3)  # this image's was clipped


def test_threads_share_the_images_and_change_the_sum_by_rounding_only():
    assert torch.allclose(private_sum(5, 0.05, threads=2), private_sum(5, 0.05), atol=1e-6)


def test_an_image_whose_gradient_is_not_finite_adds_nothing():
    centred, sigma, noise = batch(2)
    noise = noise.clone()
    noise[1] = math.nan
    net, plan = network(), noiseless(0.05)
    PrivateGradients(net, plan, 1).fill(loss, centred, sigma, noise)
    assert torch.allclose(flat_gradient(net) * plan.expected_batch, private_sum(1, 0.05), atol=1e-6)


def test_an_empty_batch_still_gets_the_full_noise():
    net = network()
    torch.manual_seed(1)
    PrivateGradients(net, PLAN, 1).fill(loss, *batch(0))
    drawn = flat_gradient(net) * PLAN.expected_batch
    assert float(drawn.std()) == pytest.approx(PLAN.noise_multiplier * PLAN.max_grad_norm, rel=0.03)
    assert abs(float(drawn.mean())) < 0.05 * PLAN.noise_multiplier


@pytest.mark.parametrize("target", [PrivacyTarget(1.0, 1e-5), PrivacyTarget(8.0, 1e-6)])
def test_a_plan_spends_its_epsilon_and_no_more(target):
    plan = plan_privacy(target, images=1000, steps=200)
    assert 0.98 * target.epsilon <= plan.epsilon <= target.epsilon
    assert plan.guarantee().epsilon <= target.epsilon


def test_a_second_accountant_agrees_that_the_plan_keeps_its_promise():
    from opacus.accountants import PRVAccountant

    plan = plan_privacy(TARGET, images=1000, steps=200)
    accountant = PRVAccountant()
    accountant.history = [(plan.noise_multiplier, plan.sample_rate, plan.steps)]
    assert accountant.get_epsilon(TARGET.delta) < TARGET.epsilon


def test_noise_grows_with_steps_and_with_a_stronger_guarantee():
    base = plan_privacy(TARGET, images=1000, steps=100).noise_multiplier
    assert plan_privacy(TARGET, images=1000, steps=400).noise_multiplier > base
    assert plan_privacy(PrivacyTarget(2.0, 1e-5), images=1000, steps=100).noise_multiplier > base


def test_a_delta_that_protects_nobody_is_refused_with_one_that_does():
    with pytest.raises(UsageError, match="protects nobody") as caught:
        plan_privacy(PrivacyTarget(8.0, 0.01), images=500, steps=10)
    assert "0.001" in (caught.value.hint or "")


def test_a_guarantee_that_no_noise_can_give_is_refused():
    with pytest.raises(UsageError, match="no amount of noise"):
        plan_privacy(PrivacyTarget(0.01, 1e-300), images=20, steps=100_000)


def test_private_training_takes_steps_and_no_time():
    with pytest.raises(UsageError, match="number of steps"):
        train_generator(
            bars(), preset=SMALL, seed=0, budget=Budget(seconds=1.0, steps=2), privacy=TARGET
        )


def test_an_interrupted_private_training_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_PROGRESS_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("client_agent.generator.training.secrets.randbits", lambda bits: 12345)
    options = {"preset": SMALL, "seed": 0, "budget": Budget(steps=4), "privacy": TARGET}
    whole = train_generator(bars(), **options)
    checkpoint = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train_generator(bars(), checkpoint=checkpoint, on_progress=StopAt(2), **options)
    monkeypatch.setattr("client_agent.generator.training.secrets.randbits", lambda bits: 777)
    resumed = train_generator(bars(), checkpoint=checkpoint, **options)
    assert same_weights(whole, resumed)
    assert torch.equal(whole.gaussian.mean, resumed.gaussian.mean)


def test_the_seed_on_the_command_line_does_not_give_the_noise_away():
    options = {"preset": SMALL, "seed": 0, "budget": Budget(steps=1), "privacy": TARGET}
    one, other = train_generator(bars(), **options), train_generator(bars(), **options)
    assert not same_weights(one, other)
    assert not torch.equal(one.gaussian.mean, other.gaussian.mean)


def test_the_card_states_the_guarantee_and_leaves_out_the_loss():
    trained = train_generator(bars(), preset=SMALL, seed=0, budget=Budget(steps=2), privacy=TARGET)
    assert trained.guarantee is not None
    assert trained.guarantee.epsilon <= TARGET.epsilon
    assert trained.guarantee.steps == 2
    assert training_card(trained, 64).final_loss is None


def test_no_image_moves_a_statistic_by_more_than_its_bound():
    rows = np.random.default_rng(0).normal(size=(5, 12)) * 10
    clipped = clip_rows(rows, 1.5)
    assert np.linalg.norm(clipped, axis=1).max() <= 1.5 + 1e-9
    square = np.triu(np.outer(clipped[0], clipped[0]))
    assert np.linalg.norm(square) <= 1.5**2 + 1e-9
    assert (clip_rows(rows / 1000, 1.5) == rows / 1000).all()


def test_the_covariances_noise_is_symmetric_and_of_the_size_that_was_accounted_for():
    drawn = symmetric_noise(np.random.default_rng(0), 200, 3.0)
    assert (drawn == drawn.T).all()
    assert np.triu(drawn)[np.triu_indices(200)].std() == pytest.approx(3.0, rel=0.02)


def test_the_cosine_basis_is_orthonormal():
    basis = cosine_basis(3, 8, 10)
    assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)


def test_the_private_gaussian_nears_the_true_one_as_noise_falls_and_hides_it_as_noise_grows():
    rng = np.random.default_rng(0)
    level = rng.normal(128, 15, (4000, 1, 1, 1)).clip(0, 255)
    data = torch.from_numpy(np.broadcast_to(level, (4000, 1, 8, 8)).astype(np.uint8))
    true = fit_gaussian(data)
    errors = []
    for noise in (1e-6, 1.0, 1000.0):
        plan = dataclasses.replace(PLAN, images=4000, statistics_noise=noise)
        found = fit_private_gaussian(data, plan, secret=5)
        errors.append(float((found.mean - true.mean).square().mean().sqrt()))
        # A mixture would be one more look at the images that no noise hides.
        assert found.mixture is None
        if noise == 1e-6:
            assert float(found.variances[0]) == pytest.approx(float(true.variances[0]), rel=0.02)
    assert errors[0] < 1e-4 < errors[1] < 0.1 < errors[2]


def test_a_private_generator_takes_more_sampler_steps():
    assert private_preset(SMALL).sampler_steps > SMALL.sampler_steps
