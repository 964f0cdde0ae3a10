"""Training: it learns, repeats itself to the bit, and leaves no trace in global state."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from client_agent.classifier.augmentation import relit, shifted  # noqa: E402
from client_agent.classifier.network import ClassifierNetwork, build_network  # noqa: E402
from client_agent.classifier.settings import ClassifierSettings  # noqa: E402
from client_agent.classifier.training import (  # noqa: E402
    Schedule,
    class_weights,
    fit_classifier,
    predict_network,
)
from client_agent.errors import DataError, TrainingError  # noqa: E402

CLASSES = ("dark", "light", "striped")
QUICK = ClassifierSettings(epochs=2, batch_size=16, threads=1)


def easy(count: int = 60, size: int = 8, channels: int = 1):
    """Three classes that brightness and stripes tell apart."""
    random = np.random.default_rng(3)
    labels = np.arange(count) % 3
    images = random.integers(0, 60, (count, size, size, channels))
    images[labels == 1] += 180
    images[labels == 2, ::2] += 180
    return images.astype(np.uint8), labels.astype(np.int64)


def weights(fitted) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in fitted.network.state_dict().items()}


def test_it_learns():
    images, labels = easy()
    fitted = fit_classifier(
        images, labels, classes=CLASSES, settings=replace(QUICK, epochs=12, widths=(8, 8, 16, 16))
    )
    probabilities = predict_network(fitted.network, images, 1)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == labels).mean() > 0.95
    assert fitted.classes == CLASSES
    assert fitted.steps == 12 * (60 // 16)


def test_digits_reach_the_bar():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    test = np.arange(len(images)) % 5 == 0
    fitted = fit_classifier(
        images[~test],
        bunch.target[~test],
        classes=tuple(map(str, range(10))),
        settings=ClassifierSettings(threads=1, epochs=15),
    )
    predicted = predict_network(fitted.network, images[test], 1).argmax(1)
    assert (predicted == bunch.target[test]).mean() >= 0.975


def test_same_inputs_same_bits_whatever_the_global_state():
    images, labels = easy()
    first = fit_classifier(images, labels, classes=CLASSES, settings=QUICK)
    torch.manual_seed(123)
    np.random.seed(5)
    torch.rand(7)
    second = fit_classifier(images, labels, classes=CLASSES, settings=QUICK)
    assert weights(first) == weights(second)
    other = fit_classifier(images, labels, classes=CLASSES, settings=replace(QUICK, seed=1))
    assert weights(first) != weights(other)


def test_global_state_is_put_back():
    images, labels = easy()
    torch.manual_seed(9)
    expected = torch.rand(3)
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(9)
    numpy_before = np.random.get_state()[1].copy()
    fit_classifier(images, labels, classes=CLASSES, settings=replace(QUICK, threads=threads + 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == strict
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize(
    ("size", "channels"), [(8, 1), (9, 3), (32, 1), (33, 3), (65, 1), (256, 3)]
)
def test_every_image_size_fits(size, channels):
    network = build_network(QUICK, size, channels, 4)
    pixels = torch.zeros(2, size, size, channels, dtype=torch.uint8)
    assert network(pixels).shape == (2, 4)


@pytest.mark.parametrize(("size", "channels"), [(7, 1), (257, 1), (28, 2)])
def test_other_image_sizes_are_refused(size, channels):
    with pytest.raises(DataError, match="channels"):
        ClassifierNetwork(QUICK, size, channels, 4)


def test_progress_ends_at_the_end():
    images, labels = easy()
    seen = []
    fit_classifier(images, labels, classes=CLASSES, settings=QUICK, on_progress=seen.append)
    assert seen[-1].fraction == 1.0
    assert seen[-1].step == seen[-1].steps == 6
    assert seen[-1].epoch == seen[-1].epochs == 2


def test_shifts_move_and_repeat_the_border():
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    moved = shifted(image.repeat(200, axis=0), 2, np.random.Generator(np.random.Philox(0)))
    padded = np.pad(image[0], ((2, 2), (2, 2), (0, 0)), mode="edge")
    windows = {padded[r : r + 8, c : c + 8].tobytes() for r in range(5) for c in range(5)}
    assert {one.tobytes() for one in moved} == windows


@pytest.mark.parametrize("channels", [1, 3])
def test_relighting_stays_within_its_limits_and_keeps_a_flat_image_flat(channels: int):
    settings = ClassifierSettings(contrast=0.25, brightness=0.1, colour=0.05)
    flat = np.full((500, 8, 8, channels), 100, np.uint8)
    lit = relit(flat, settings, np.random.Generator(np.random.Philox(1)))
    assert lit.dtype == np.uint8
    assert (lit == lit[:, :1, :1]).all()
    limit = 100 * (0.05 if channels == 3 else 0) + 25.5 + 1
    assert np.abs(lit.astype(int) - 100).max() <= limit
    assert lit.std() > 5


def test_relighting_of_nothing_changes_nothing():
    settings = ClassifierSettings(contrast=0.0, brightness=0.0, colour=0.0)
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    same = relit(images, settings, np.random.Generator(np.random.Philox(1)))
    np.testing.assert_array_equal(same, images)


def test_class_weights_balance_what_is_there():
    labels = np.array([0] * 8 + [1] * 2)
    weighed = class_weights(labels, 3, balance=1.0).numpy()
    np.testing.assert_allclose(weighed, [10 / 16, 10 / 4, 0])
    np.testing.assert_allclose(class_weights(labels, 3, balance=0.0).numpy(), [1, 1, 0])


def test_schedule_rises_and_falls():
    schedule = Schedule(QUICK, 100)
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert min(rates) > 0
    assert max(rates) == pytest.approx(QUICK.learning_rate)
    assert 0 < rates.index(max(rates)) < 50
    assert rates[-1] < 0.01 * QUICK.learning_rate
    assert Schedule(QUICK, 1).learning_rate(0) > 0


@pytest.mark.parametrize("count", [3, 17])
def test_sets_smaller_than_a_batch_or_just_above_train(count):
    images, labels = easy(count)
    fitted = fit_classifier(images, labels, classes=CLASSES, settings=QUICK)
    assert fitted.steps == 2


def test_faults_are_named():
    images, labels = easy()

    def fit(images=images, labels=labels, classes=CLASSES, settings=QUICK):
        return fit_classifier(images, labels, classes=classes, settings=settings)

    with pytest.raises(DataError, match="no training image of none"):
        fit(classes=(*CLASSES, "none"))
    with pytest.raises(DataError, match="at least two"):
        fit(labels=np.zeros(60, np.int64), classes=("one",))
    with pytest.raises(DataError, match="expected uint8"):
        fit(images=images.astype(np.float32))
    with pytest.raises(DataError, match="labels run"):
        fit(classes=CLASSES[:2])
    with pytest.raises(DataError, match="60 images, but labels"):
        fit(labels=labels[:5])
    with pytest.raises(DataError, match="too few"):
        fit(images=images[:1], labels=labels[:1])
    with pytest.raises(TrainingError, match="loss is"):
        fit(settings=replace(QUICK, epochs=20, learning_rate=1e30))
