"""Figures agree with scikit-learn; the rules for missing classes hold."""

import json

import numpy as np
import pytest

metrics = pytest.importorskip("sklearn.metrics")

from client_agent.classifier.evaluation import average, evaluate_probabilities  # noqa: E402
from client_agent.errors import DataError  # noqa: E402

CLASSES = ("a", "b", "c", "d")


def random_case(classes: int, count: int = 200):
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(classes), count).astype(np.float32)
    return probabilities, random.integers(0, classes, count)


def test_figures_are_scikit_learns():
    probabilities, labels = random_case(4)
    found = evaluate_probabilities(probabilities, labels, classes=CLASSES)
    predicted = probabilities.argmax(1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    assert found.macro_auroc == pytest.approx(
        metrics.roc_auc_score(labels, exact, multi_class="ovr", average="macro"), abs=1e-6
    )
    assert list(found.recall.values()) == pytest.approx(
        metrics.recall_score(labels, predicted, average=None)
    )
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, predicted))
    assert found.unknown == found.untested == ()


def test_an_unknown_class_counts_as_errors_and_chance():
    labels = np.array([0, 1, 2, 3])
    probabilities = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    found = evaluate_probabilities(probabilities, labels, classes=CLASSES, known=("b", "a", "d"))
    assert found.accuracy == 0.5
    assert found.unknown == ("c",)
    assert found.recall == {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}
    assert found.auroc["c"] == 0.5
    assert found.confusion[2] == (0, 0, 0, 1)


def test_an_untested_class_is_left_out_of_the_means():
    labels = np.array([0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.3, 0.1, 0.6]], np.float32)
    found = evaluate_probabilities(probabilities, labels, classes=("a", "b", "c"))
    assert found.untested == ("c",)
    assert found.recall == {"a": 1.0, "b": 0.5, "c": None}
    assert found.auroc["c"] is None
    assert found.macro_auroc == pytest.approx((1.0 + found.auroc["b"]) / 2)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 2)


def test_a_single_tested_class_has_no_auroc():
    found = evaluate_probabilities(
        np.array([[1, 0]], np.float32), np.array([0]), classes=("a", "b")
    )
    assert found.macro_auroc is None
    assert found.accuracy == 1.0


def test_it_becomes_json():
    found = evaluate_probabilities(*random_case(4), classes=CLASSES).to_dict()
    assert json.loads(json.dumps(found)) == found


def test_the_average_is_a_mean_of_shares():
    probabilities, labels = random_case(2)
    one = evaluate_probabilities(probabilities, labels, classes=("a", "b"))
    two = evaluate_probabilities(
        np.ones((200, 1), np.float32), labels, classes=("a", "b"), known=("b",)
    )
    both = average([one, two])
    assert both.accuracy == pytest.approx((one.accuracy + two.accuracy) / 2)
    assert both.macro_auroc == pytest.approx((one.macro_auroc + 0.5) / 2)
    assert both.unknown == ()
    assert np.sum(both.confusion) == 400
    with pytest.raises(DataError):
        average([])
    with pytest.raises(DataError):
        average([one, evaluate_probabilities(*random_case(4), classes=CLASSES)])


@pytest.mark.parametrize(
    ("probabilities", "labels", "known"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), ("a", "b")),
        (np.ones((2, 3)), np.array([0, 1]), ("a", "b")),
        (np.ones((2, 2)), np.array([0, 4]), ("a", "b")),
        (np.ones((2, 2)), np.array([0, 1]), ("a", "elsewhere")),
        (np.full((2, 2), np.nan), np.array([0, 1]), ("a", "b")),
    ],
)
def test_misfits_are_refused(probabilities, labels, known):
    with pytest.raises(DataError):
        evaluate_probabilities(
            probabilities.astype(np.float32), labels, classes=CLASSES, known=known
        )
