"""Prevalence: a classifier's answers follow Bayes' rule where classes are not equally common."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_agent.classifier.prevalence import parse_shares, reweight, shares_in_training
from client_agent.errors import UsageError
from ff_protocol.card import bucket, bucket_floor
from tests.agents import agent, agent_json

CLASSES = ("normal", "stage 1", "a+b")


def test_classes_that_are_equally_common_change_nothing():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    assert reweight(probabilities, np.full(3, 1 / 3)) == pytest.approx(probabilities, abs=1e-6)


def test_weighing_gives_the_posterior_of_bayes_rule():
    # Two normal densities; the classifier knows them exactly, at even shares.
    shares = np.array([0.95, 0.05])
    x = np.linspace(-2, 4, 13)
    likelihood = np.stack([np.exp(-(x**2) / 2), np.exp(-((x - 2) ** 2) / 2)], axis=1)
    even = likelihood / likelihood.sum(1, keepdims=True)
    expected = likelihood * shares / (likelihood * shares).sum(1, keepdims=True)
    assert reweight(even.astype(np.float32), shares) == pytest.approx(expected, abs=1e-4)


def test_an_image_of_a_class_that_does_not_occur_gets_another_one():
    certain = np.array([[1, 0, 0]], np.float32)
    weighed = reweight(certain, np.array([0, 0.25, 0.75]))
    assert weighed[0] == pytest.approx([0, 0.25, 0.75])


@given(st.lists(st.integers(8, 60_000), min_size=2, max_size=9))
def test_buckets_tell_shares_within_a_factor_of_two(counts):
    names = [f"c{number}" for number in range(len(counts))]
    held = [(name, bucket(count)) for name, count in zip(names, counts, strict=True)]
    shares = shares_in_training(held, names)
    true = np.array(counts) / sum(counts)
    assert shares.sum() == pytest.approx(1)
    assert np.all(shares / true < 2.01)
    assert np.all(true / shares < 2.01)


def test_modules_of_a_class_at_several_sites_add_up_and_a_missing_class_has_none():
    held = [("a", "64-127"), ("b", "64-127"), ("b", "64-127"), ("b", "128-255")]
    assert shares_in_training(held, ["a", "b", "c"]) == pytest.approx([0.2, 0.8, 0])


def test_shares_are_read_by_name_and_brought_to_one():
    shares = parse_shares(" normal = 90, stage 1=9,a+b=1e0", CLASSES)
    assert shares == pytest.approx([0.9, 0.09, 0.01])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("evenly", "cannot be read"),
        ("normal=1,normal=2", "cannot be read"),
        ("normal=1,stage 1=2", "of a+b is missing"),
        ("normal=1,stage 1=2,a+b=3,other=4", "no class 'other'"),
        ("normal=-1,stage 1=2,a+b=3", "'-1' is no number"),
        ("normal=nan,stage 1=2,a+b=3", "'nan' is no number"),
        ("normal=inf,stage 1=2,a+b=3", "'inf' is no number"),
        ("normal=,stage 1=2,a+b=3", "'' is no number"),
        ("normal=0,stage 1=0,a+b=0", "leaves no answer"),
    ],
)
def test_shares_that_cannot_be_meant_are_named(text, said):
    with pytest.raises(UsageError) as error:
        parse_shares(text, CLASSES)
    assert said in error.value.message
    assert "normal, stage 1, a+b" in str(error.value.hint)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        shares = parse_shares(text, ("a", "b"))
    except UsageError:
        return
    assert shares.sum() == pytest.approx(1)


class TestAtASite:
    @pytest.fixture
    def home(self, fitted_copy):
        return fitted_copy

    def test_a_rarer_class_is_predicted_less(self, home, digits, tmp_path):
        found = []
        for share in ("1", "0.001", "0"):
            out = tmp_path / "out.json"
            done = agent(
                home, "predict", "--data", digits, "--output", out,
                "--prevalence", f"zero={share},one=1",
            )  # fmt: skip
            assert done.code == 0, done.err
            document = json.loads(out.read_text())
            found.append([item["label"] for item in document["predictions"]].count("zero"))
            assert document["prevalence"]["zero"] == pytest.approx(
                float(share) / (1 + float(share)), abs=1e-5
            )
            assert ("as common as: zero" in done.out) == (share != "1")
        assert found[0] >= found[1] >= found[2] == 0
        assert found[0] > 0

    def test_the_shares_of_training_come_from_the_cards(self, home, digits):
        cards = [json.loads(path.read_text()) for path in home.glob("admitted/*/card.json")]
        floors = {card["class_name"]: bucket_floor(card["training"]["images"]) for card in cards}
        assert floors["zero"] != floors["one"]
        said = agent_json(
            home, "evaluate", "--data", digits, "--evidence", "--prevalence", "training"
        )
        for name, floor in floors.items():
            expected = floor / sum(floors.values())
            assert said["prevalence"][name] == pytest.approx(expected, abs=1e-6)
        even = agent_json(home, "evaluate", "--data", digits, "--evidence")
        assert even["prevalence"] == {"zero": 0.5, "one": 0.5}

    def test_after_a_module_left_its_share_is_asked_of_the_next_fit(self, home, digits):
        gone = next((home / "admitted").iterdir())
        shutil.rmtree(gone)
        done = agent(home, "predict", "--data", digits, "--prevalence", "training")
        assert (done.code, "ff-agent fit" in done.err) == (7, True)
        assert agent(home, "predict", "--data", digits).code == 0

    def test_a_prevalence_that_cannot_be_read_is_a_wrong_call(self, home, digits):
        done = agent(home, "evaluate", "--data", digits, "--prevalence", "zero=1,two=1")
        assert done.code == 2
        assert "the classifier knows no class 'two'" in done.err
        assert "zero, one" in done.err or "one, zero" in done.err
