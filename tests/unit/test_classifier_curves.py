"""ROC, calibration and their intervals against textbook values and scikit-learn."""

import numpy as np
import pytest

from client_agent.classifier.curves import area_interval, calibration, roc, wilson

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    # Newcombe, Stat Med 1998, 17:857, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_wilsons(successes, count, low, high):
    assert wilson(successes, count) == pytest.approx((low, high), abs=6e-5)


def test_the_area_is_scikit_learns_also_with_ties():
    random = np.random.default_rng(0)
    positive = random.random(300) < 0.3
    scores = np.round(random.random(300) + 0.4 * positive, 1)
    found = roc("a", positive, scores)
    assert found.area == pytest.approx(metrics.roc_auc_score(positive, scores))
    assert (found.false_positive[0], found.true_positive[0]) == (0, 0)
    assert (found.false_positive[-1], found.true_positive[-1]) == (1, 1)
    assert (found.positives, found.negatives) == (positive.sum(), (~positive).sum())
    assert roc("a", np.ones(4, bool), np.arange(4.0)) is None


def test_a_long_curve_is_thinned_and_keeps_its_area():
    random = np.random.default_rng(1)
    positive = random.random(5000) < 0.5
    found = roc("a", positive, random.random(5000) + positive)
    assert len(found.true_positive) <= 202
    assert np.trapezoid(found.true_positive, found.false_positive) == pytest.approx(
        found.area, abs=2e-3
    )


def test_intervals_of_areas_are_sound():
    low, high = area_interval(0.9, 50, 50)
    # Near the middle of the range it agrees with Hanley and McNeil's standard error.
    q1, q2 = 0.9 / 1.1, 2 * 0.81 / 1.9
    error = np.sqrt((0.09 + 49 * (q1 - 0.81) + 49 * (q2 - 0.81)) / 2500)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert 0.9 - low > high - 0.9  # skewed away from 1
    perfect = area_interval(1.0, 20, 20)
    assert 0.8 < perfect[0] < 0.99  # twenty images do not prove perfection
    assert perfect[1] == pytest.approx(1)
    wide, narrow = area_interval(0.8, 10, 10), area_interval(0.8, 1000, 1000)
    assert wide[0] < narrow[0] < 0.8 < narrow[1] < wide[1]
    mirrored = area_interval(0.1, 50, 50)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_intervals_of_areas_cover_the_truth():
    """Of 200 samples of 30 + 30 normal scores whose true area is 0.8, about 95 % cover it."""
    random = np.random.default_rng(2)
    positive = np.arange(60) < 30
    shift = np.sqrt(2) * 0.8416212  # quantile of 0.8: the area of two normals so far apart
    covered = 0
    for _ in range(200):
        found = roc("a", positive, random.normal(size=60) + shift * positive)
        covered += found.interval[0] <= 0.8 <= found.interval[1]
    assert 0.9 <= covered / 200 <= 0.99


def test_calibration_compares_what_is_said_with_what_is_true():
    confidence = np.repeat([0.95, 0.65], [100, 100])
    right = np.concatenate([np.arange(100) < 75, np.arange(100) < 65])
    found = calibration(confidence, right)
    assert [item.images for item in found.bins] == [100, 100]
    assert [item.accuracy for item in found.bins] == [0.65, 0.75]
    assert found.error == pytest.approx(0.1)  # half of the images are 0.2 off
    assert found.bins[1].interval[0] < 0.75 < found.bins[1].interval[1] < 0.95
    assert calibration(np.array([1.0]), np.array([True])).bins[0].high == 1
