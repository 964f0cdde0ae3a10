"""What the classifier may say of its own certainty: held out by rule, fitted without a die."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from client_agent.classifier.calibration import (  # noqa: E402
    MIXTURES,
    calibrate,
    held_out,
    mahalanobis,
    mixed,
)
from client_agent.classifier.settings import ClassifierSettings  # noqa: E402
from client_agent.classifier.temperature import HIGHEST, LOWEST, fit_temperature  # noqa: E402
from client_agent.classifier.training import fit_classifier  # noqa: E402


def test_every_tenth_image_of_a_class_is_held_out():
    labels = np.array([0] * 40 + [1] * 15 + [2] * 3 + [3])
    chosen = held_out(labels)
    assert np.flatnonzero(chosen[:40]).tolist() == [9, 19, 29, 39]
    assert [int(chosen[labels == label].sum()) for label in range(4)] == [4, 1, 1, 0]
    # More images of the same modules change nothing about the first ones.
    assert (held_out(np.zeros(45, int))[:40] == held_out(np.zeros(40, int))).all()


def test_the_temperature_is_the_one_with_the_least_cross_entropy():
    random = np.random.default_rng(0)
    true = random.normal(size=(3000, 4)) * 2
    weights = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    labels = np.array([random.choice(4, p=row) for row in weights])
    for factor in (0.5, 1.0, 3.0):
        assert fit_temperature(true * factor, labels) == pytest.approx(factor, rel=0.1)
    # Always right: as sure as is allowed; always wrong: as modest.
    scores = np.eye(4)[np.arange(100) % 4]
    assert fit_temperature(scores, np.arange(100) % 4) == LOWEST
    assert fit_temperature(scores, (np.arange(100) + 1) % 4) == HIGHEST


def test_the_distance_is_mahalanobis_to_the_nearest_class():
    random = np.random.default_rng(1)
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]])
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    means, points = random.normal(size=(3, 2)), random.normal(size=(20, 2))
    gaps = points[:, None] - means[None]
    exact = np.einsum("nki,ij,nkj->nk", gaps, np.linalg.inv(covariance), gaps).min(1) ** 0.5
    found = mahalanobis(*map(torch.from_numpy, (points, means, whitening)))
    np.testing.assert_allclose(found, exact)


def test_mixtures_keep_the_image_in_front():
    images = np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 200)]).astype(np.uint8)
    parts = mixed(images).reshape(len(MIXTURES), 2, 8, 8, 1)
    assert (parts[0] == images).all()
    for share, part in zip(MIXTURES, parts, strict=True):
        assert np.abs(part.astype(int) - images).max() <= 200 * (1 - share) + 1
    assert (mixed(images) == mixed(images)).all()


def test_images_of_another_kind_lie_beyond_the_limit():
    random = np.random.default_rng(2)
    labels = np.arange(200) % 2
    images = random.integers(0, 60, (200, 8, 8, 1))
    images[labels == 1, ::2] += 150
    images = images.astype(np.uint8)
    held = held_out(labels)
    training = images[~held], labels[~held]
    settings = ClassifierSettings(epochs=6, batch_size=16, threads=1, widths=(8, 8, 16, 16))
    fitted = fit_classifier(*training, classes=("plain", "striped"), settings=settings)
    found = calibrate(fitted, training, (images[held], labels[held]))
    again = calibrate(fitted, training, (images[held], labels[held]))
    assert found.whitening.tobytes() == again.whitening.tobytes()
    assert (found.temperature, found.limit) == (again.temperature, again.limit)
    assert found.images == 20

    def distances(pictures):
        with torch.inference_mode():
            features = fitted.network.features(torch.from_numpy(pictures))
        parts = map(torch.from_numpy, (found.means, found.whitening))
        return mahalanobis(features, *parts).numpy()

    assert np.mean(distances(images[held]) <= found.limit) >= 0.99
    columns = np.ascontiguousarray(images[labels == 1].transpose(0, 2, 1, 3))
    assert np.mean(distances(columns) > found.limit) > 0.9
    # Without held-out images the training images stand in for them.
    alone = calibrate(replace(fitted), training, (images[:0], labels[:0]))
    assert alone.images == 180
