"""The training loop: learning, exact resumption, checkpoints, faults."""

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.errors import DataError, TrainingError, UsageError  # noqa: E402
from client_agent.generator import training  # noqa: E402
from client_agent.generator.presets import Preset, preset_for  # noqa: E402
from client_agent.generator.training import (  # noqa: E402
    Budget,
    TrainedGenerator,
    TrainingProgress,
    sample_torch,
    train_generator,
)

SMALL = preset_for(
    "tiny", 8, 1, block_out_channels=(16,), patch=2, batch_size=8, sampler_steps=4, warmup_steps=5
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise_images(count: int = 32, size: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def bars(count: int = 64) -> np.ndarray:
    """A class with structure: one bright column on black, its place drawn at random."""
    images = np.zeros((count, 8, 8, 1), np.uint8)
    images[np.arange(count), :, np.random.default_rng(0).integers(0, 8, count)] = 255
    return images


def train(steps: int, preset: Preset = SMALL, **options) -> TrainedGenerator:
    images = options.pop("images", noise_images())
    return train_generator(images, preset=preset, seed=1, budget=Budget(steps=steps), **options)


def same_weights(one: TrainedGenerator, other: TrainedGenerator) -> bool:
    first, second = one.network.state_dict(), other.network.state_dict()
    return first.keys() == second.keys() and all(
        first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in first
    )


class StopAt:
    """A progress callback that behaves like Ctrl-C after some reports."""

    def __init__(self, reports: int) -> None:
        self.left = reports

    def __call__(self, progress: TrainingProgress) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def report_every_step(monkeypatch):
    monkeypatch.setattr(training, "_PROGRESS_EVERY_SECONDS", 0.0)


def test_same_seed_gives_the_same_weights_and_another_seed_does_not():
    first, second = train(4), train(4)
    assert same_weights(first, second)
    other = train_generator(noise_images(), preset=SMALL, seed=2, budget=Budget(steps=4))
    assert not same_weights(first, other)


def test_caller_keeps_its_own_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.usefixtures("report_every_step")
def test_interrupted_and_resumed_equals_undisturbed(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    for reports in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            train(12, checkpoint=checkpoint, on_progress=StopAt(reports))
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] == 7
    resumed = train(12, checkpoint=checkpoint)
    undisturbed = train(12)
    assert resumed.steps == undisturbed.steps == 12
    assert resumed.loss == undisturbed.loss
    assert same_weights(resumed, undisturbed)
    assert resumed.notices == ()


@pytest.fixture
def heeds_ctrl_c():
    """A shell that starts the tests in the background has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("report_every_step", "heeds_ctrl_c")
def test_sigint_waits_for_the_step_and_saves(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    before = signal.getsignal(signal.SIGINT)

    def press_ctrl_c(progress: TrainingProgress) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(50, checkpoint=checkpoint, on_progress=press_ctrl_c)
    assert torch.load(checkpoint, weights_only=True)["step"] in (3, 4)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_run_returns_at_once_and_a_larger_budget_carries_on(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    first = train(5, checkpoint=checkpoint)
    reports: list[TrainingProgress] = []
    again = train(5, checkpoint=checkpoint, on_progress=reports.append)
    assert same_weights(first, again)
    assert (again.steps, again.seconds) == (5, first.seconds)
    assert [report.fraction for report in reports] == [1.0]
    longer = train(8, checkpoint=checkpoint)
    assert longer.steps == 8
    assert longer.seconds > first.seconds


def test_checkpoint_is_private_and_complete(tmp_path: Path):
    checkpoint = tmp_path / "deep" / "run.ckpt"
    train(2, checkpoint=checkpoint)
    assert checkpoint.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in checkpoint.parent.iterdir()] == ["run.ckpt"]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped"])
def test_a_damaged_checkpoint_is_passed_over_with_a_reason(tmp_path: Path, damage: str):
    checkpoint = tmp_path / "run.ckpt"
    train(2, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    flipped = bytearray(whole)
    flipped[20:60] = bytes(40)
    checkpoint.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello", "flipped": flipped}[
            damage
        ]
    )
    trained = train(3, checkpoint=checkpoint)
    assert trained.steps == 3
    assert "run.ckpt" in trained.notices[0]
    assert same_weights(trained, train(3))


def test_a_checkpoint_that_would_run_code_does_not(tmp_path: Path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    checkpoint = tmp_path / "run.ckpt"
    torch.save({"format": Bomb()}, checkpoint)
    assert train(1, checkpoint=checkpoint).notices
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_other_images_is_passed_over(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    train(2, checkpoint=checkpoint)
    trained = train(2, checkpoint=checkpoint, images=noise_images(33))
    assert "other images" in trained.notices[0]


def test_a_loss_that_is_not_finite_names_step_and_setting_and_keeps_the_checkpoint(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    wild = dataclasses.replace(SMALL, peak_lr=1e30, warmup_steps=1)
    with pytest.raises(TrainingError, match=r"step \d+ .*peak_lr 1e\+30"):
        train(20, preset=wild, checkpoint=checkpoint, checkpoint_every_seconds=0.0)
    state = torch.load(checkpoint, weights_only=True)
    assert all(bool(values.isfinite().all()) for values in state["network"].values())


def test_weights_poisoned_by_the_last_step_are_not_handed_over(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    wild = dataclasses.replace(SMALL, peak_lr=float("inf"), warmup_steps=1)
    with pytest.raises(TrainingError, match="weights are not finite after step 1"):
        train(1, preset=wild, checkpoint=checkpoint)
    assert not checkpoint.exists()


def test_too_few_or_unfit_images_are_refused():
    with pytest.raises(DataError, match="15 images are too few"):
        train(1, images=noise_images(15))
    with pytest.raises(DataError, match="expected uint8"):
        train(1, images=noise_images(size=9))
    with pytest.raises(DataError, match="expected uint8"):
        train(1, images=noise_images().astype(np.float32))


def test_a_class_smaller_than_a_batch_and_one_without_spread_train():
    assert np.isfinite(train(2, images=noise_images(16), preset=dataclasses.replace(
        SMALL, batch_size=40)).loss)  # fmt: skip
    flat = train(3, images=np.full((16, 8, 8, 1), 90, np.uint8))
    images = sample_torch(flat, np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32))
    np.testing.assert_allclose(images, 90 / 255, atol=0.05)


@pytest.mark.parametrize(
    "values", [{}, {"seconds": 0.0}, {"steps": -1}, {"seconds": 3, "steps": 0}]
)
def test_budget_must_be_above_zero(values):
    with pytest.raises(UsageError, match="training budget"):
        Budget(**values)


def test_budget_ends_at_whichever_limit_comes_first():
    budget = Budget(seconds=10, steps=100)
    assert budget.fraction(50, 1.0) == 0.5
    assert budget.fraction(50, 8.0) == 0.8
    assert budget.fraction(100, 1.0) == budget.fraction(0, 11.0) == 1.0


@pytest.mark.usefixtures("report_every_step")
def test_seconds_budget_ends_on_time_and_progress_is_monotonic():
    reports: list[TrainingProgress] = []
    trained = train_generator(
        noise_images(), preset=SMALL, seed=1, budget=Budget(seconds=1.0), on_progress=reports.append
    )
    assert 1.0 <= trained.seconds < 3.0
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert all(report.images_per_second >= 0 and report.seconds_left >= 0 for report in reports)


def test_unknown_device_is_refused():
    with pytest.raises(UsageError, match="device 'tpu'"):
        train(1, device="tpu")


def test_learning_really_happens():
    """Samples of a class of bars become bars: one bright column, seven dark ones."""
    preset = dataclasses.replace(SMALL, block_out_channels=(32,), batch_size=32, sampler_steps=10)
    trained = train(250, preset=preset, images=bars())
    assert trained.loss < 0.5
    noise = np.random.default_rng(1).standard_normal((64, 1, 8, 8), dtype=np.float32)
    columns = np.sort(sample_torch(trained, noise)[:, 0].mean(axis=1), axis=1)
    assert (columns[:, -1] > 0.8).mean() > 0.8
    assert columns[:, :-1].mean() < 0.1
