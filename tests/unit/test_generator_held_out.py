"""The watch on held-out images: what it measures, what it costs, and when it ends a training."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.errors import DataError, NotReadyError  # noqa: E402
from client_agent.generator import held_out  # noqa: E402
from client_agent.generator.gaussian import fit_gaussian  # noqa: E402
from client_agent.generator.held_out import (  # noqa: E402
    CurvePoint,
    Watch,
    curve_values,
    evaluation_interval,
    expected_interval,
    memorises,
    merit,
)
from client_agent.generator.keeping import load_generator, save_generator  # noqa: E402
from client_agent.generator.network import RawNetwork  # noqa: E402
from client_agent.generator.presets import PRESET_NAMES, preset_for  # noqa: E402
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


def noise_images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def train(steps: int, **options) -> TrainedGenerator:
    options = {"held_out": noise_images(8, 4)} | options
    return train_generator(
        noise_images(16, 3), preset=SMALL, seed=1, budget=Budget(steps=steps), threads=1, **options
    )


def curve(*losses: float | None) -> list[CurvePoint]:
    return [CurvePoint(step, float(step), 0.5, loss) for step, loss in enumerate(losses, 1)]


def test_a_loss_that_falls_or_stays_is_no_memorisation():
    assert not memorises([])
    assert not memorises(curve(None, None, None, None, None))
    assert not memorises(curve(1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7))
    assert not memorises(curve(1.0, 0.7, 0.71, 0.712, 0.713))  # within 2 %


def test_a_rise_counts_when_it_lasts():
    assert not memorises(curve(1.0, 0.7, 0.8, 0.8))
    assert memorises(curve(1.0, 0.7, 0.8, 0.8, 0.8))
    assert not memorises(curve(1.0, 0.7, 0.8, 0.8, 0.7))
    long = [1.0] * 20 + [0.7] + [0.8] * 5
    assert not memorises(curve(*long))  # a quarter of the way back is needed
    assert memorises(curve(*long, 0.8, 0.8, 0.8))


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_watching_costs_less_than_three_hundredths_of_training(name):
    """A training step is three passes over its batch, an evaluation one over 192 images."""
    preset = preset_for(name, 32, 1)
    most = held_out._DRAWS + 2 * held_out._SIDE
    passes = 3 * preset.batch_size * evaluation_interval(preset, most)
    assert most / passes < 0.03


def test_what_is_watched_depends_on_the_weights_alone():
    training, others = (
        torch.tensor(noise_images(count, 5)).permute(0, 3, 1, 2) for count in (40, 10)
    )
    gaussian = fit_gaussian(training)
    torch.manual_seed(0)
    network = RawNetwork(SMALL)
    one, other = (
        Watch(training, others, gaussian, SMALL, torch.device("cpu"), seed) for seed in (7, 7)
    )
    assert one.passes == 64 + 20
    before = one.loss(network), one.membership(network)
    assert before == (other.loss(network), other.membership(network))
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    assert one.loss(network) != before[0]


def test_the_smallest_classes_are_watched_by_what_is_possible_and_others_by_what_is_certain():
    training, others = (
        torch.tensor(noise_images(count, 5)).permute(0, 3, 1, 2) for count in (64, 8)
    )
    torch.manual_seed(0)
    network, gaussian = RawNetwork(SMALL), fit_gaussian(training)

    def watched(count: int) -> float:
        watch = Watch(training[:count], others, gaussian, SMALL, torch.device("cpu"), 7)
        return watch.membership(network)

    pairs = 8 * 8  # each is won, lost or a tie
    for count, end in ((63, 1), (64, 0)):
        ends = [expected_interval(k / (2 * pairs), count, 8)[end] for k in range(2 * pairs + 1)]
        assert watched(count) in ends


def test_the_bound_of_an_auc_is_hanleys_and_narrows_with_more_images():
    # Their example: an area of 0.893 for 51 and 58 images has a standard error of 0.032.
    ends = (0.893 - 1.96 * 0.032, 0.893 + 1.96 * 0.032)
    assert expected_interval(0.893, 51, 58) == pytest.approx(ends, abs=2e-3)
    assert expected_interval(0.8, 20, 10)[0] < expected_interval(0.8, 500, 100)[0] < 0.8
    assert expected_interval(1.0, 20, 10) == (1.0, 1.0)


def known(*lows: float) -> list[CurvePoint]:
    return [CurvePoint(step, 0.0, 0.5, 1 - step / 100, low) for step, low in enumerate(lows, 1)]


def test_training_ends_where_the_network_knows_its_images_and_keeps_the_weights_before():
    assert not memorises(known(0.5, 0.6, 0.8), 0.7)  # one look may be bad luck
    assert memorises(known(0.5, 0.6, 0.8, 0.9), 0.7)
    assert not memorises(known(0.5, 0.6, 0.8, 0.9), None)
    points = known(0.5, 0.6, 0.8, 0.9)  # their held-out loss falls all the way
    assert min(points, key=lambda point: merit(point, 0.7)) is points[1]
    assert min(points, key=lambda point: merit(point, None)) is points[3]
    assert min(points, key=lambda point: merit(point, 0.4)) is points[0]


@pytest.fixture
def watched_often(monkeypatch):
    monkeypatch.setattr("client_agent.generator.run.evaluation_interval", lambda *_: 3)


@pytest.mark.usefixtures("watched_often")
def test_noise_learnt_by_heart_ends_training_early_and_the_best_weights_are_kept(tmp_path: Path):
    """Sixteen images of pure noise have nothing in common that could be learnt."""
    checkpoint = tmp_path / "run.ckpt"
    trained = train(2000, checkpoint=checkpoint)
    assert trained.stopped_at is not None
    assert trained.stopped_at < 1000
    losses = [point.held_out_loss for point in trained.curve]
    assert trained.steps == trained.curve[int(np.argmin(losses))].step < trained.stopped_at
    assert min(losses[-3:]) > 1.02 * min(losses)
    reports: list[TrainingProgress] = []
    again = train(2000, checkpoint=checkpoint, on_progress=reports.append)
    assert [report.step for report in reports] == [trained.stopped_at]
    first, second = trained.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.curve == trained.curve


@pytest.mark.usefixtures("watched_often")
def test_interrupted_and_resumed_equals_undisturbed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("client_agent.generator.training._PROGRESS_EVERY_SECONDS", 0.0)
    checkpoint = tmp_path / "run.ckpt"

    def stop(progress: TrainingProgress) -> None:
        if progress.step in (4, 7):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(11, checkpoint=checkpoint, on_progress=stop)
    resumed, undisturbed = train(11, checkpoint=checkpoint), train(11)
    first, second = resumed.network.state_dict(), undisturbed.network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    told = [(point.step, point.loss, point.held_out_loss) for point in resumed.curve]
    assert told == [(point.step, point.loss, point.held_out_loss) for point in undisturbed.curve]
    assert [point.step for point in resumed.curve] == [3, 6, 9, 11]


def test_held_out_images_are_part_of_the_run(tmp_path: Path):
    checkpoint = tmp_path / "run.ckpt"
    train(2, checkpoint=checkpoint)
    other = train(2, checkpoint=checkpoint, held_out=noise_images(8, 9))
    assert "other images" in other.notices[0]
    with pytest.raises(DataError, match="expected uint8"):
        train(2, held_out=noise_images(8, 9)[:0])


def test_without_a_hold_out_the_last_weights_are_kept():
    trained = train(2, held_out=None)
    assert (trained.steps, trained.stopped_at) == (2, None)
    assert curve_values(trained.curve) == [
        {
            "step": 2,
            "seconds": round(trained.curve[0].seconds, 3),
            "loss": round(trained.loss, 6),
            "held_out_loss": None,
        }
    ]


def test_a_kept_generator_is_the_same_generator_and_runs_no_code(tmp_path: Path):
    trained = train(2)
    path = tmp_path / "deep" / "generator.pt"
    save_generator(path, trained)
    assert path.stat().st_mode & 0o777 == 0o600
    back = load_generator(path)
    noise = np.random.default_rng(0).standard_normal((3, 1, 8, 8), np.float32)
    # Weights are equal; their order in memory is not, and sums are rounded differently.
    np.testing.assert_allclose(sample_torch(back, noise), sample_torch(trained, noise), atol=1e-5)
    assert (back.steps, back.curve, back.preset) == (2, trained.curve, SMALL)
    assert trained.gaussian.mixture is not None
    assert back.gaussian.mixture is not None
    assert torch.equal(back.gaussian.mixture.means, trained.gaussian.mixture.means)
    older = torch.load(path, weights_only=True)
    del older["gaussian"]["mixture"]
    torch.save({**older, "format": "federated-factory/generator/1"}, path)
    assert load_generator(path).gaussian.mixture is None
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(NotReadyError, match="damaged"):
        load_generator(path)
    with pytest.raises(NotReadyError, match="not here any more"):
        load_generator(tmp_path / "none.pt")
