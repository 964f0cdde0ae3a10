"""Views: an image judged in several turns gets an answer that does not depend on how it lies."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from client_agent.classifier.probabilities import geometric_mean
from client_agent.classifier.views import VIEWS, views_of
from client_agent.errors import UsageError
from client_agent.site import Home, open_site
from tests.agents import agent, agent_json

SQUARE = np.arange(50, dtype=np.uint8).reshape(1, 5, 5, 2)


def test_the_views_are_the_image_its_mirror_image_and_the_turns_of_both():
    seen = {name: [view.tobytes() for view in views_of(SQUARE, name)] for name in VIEWS}
    assert {name: len(set(views)) for name, views in seen.items()} == VIEWS
    assert seen["one"] == [SQUARE.tobytes()]
    assert seen["mirrored"] == [SQUARE.tobytes(), SQUARE[:, :, ::-1].tobytes()]
    assert seen["turned"][:2] == seen["mirrored"]
    for quarters in range(4):
        turned = np.rot90(SQUARE, quarters, (1, 2))
        assert {turned.tobytes(), turned[:, :, ::-1].tobytes()} <= set(seen["turned"])


def test_a_view_can_be_read_by_any_library():
    for view in views_of(SQUARE, "turned"):
        assert view.flags.c_contiguous
        assert view.dtype == np.uint8


def test_a_single_judgement_is_left_as_it_is():
    one = np.array([[0.2, 0.8], [0, 1]], np.float32)
    assert geometric_mean([one]) is one


@given(arrays(np.float32, (3, 4, 5), elements=st.floats(0, 1, width=32)))
def test_what_judgements_come_to_are_probabilities_whose_order_does_not_matter(raw):
    judgements = [(part + 1e-3) / (part + 1e-3).sum(1, keepdims=True) for part in raw]
    mean = geometric_mean(judgements)
    assert mean.sum(1) == pytest.approx(np.ones(4), abs=1e-5)
    assert geometric_mean(judgements[::-1]) == pytest.approx(mean, abs=1e-6)
    logs = np.mean(np.log(judgements), axis=0)
    expected = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    assert mean == pytest.approx(expected, abs=1e-5)


def test_no_judgement_can_veto_a_class_and_an_unknown_class_stays_unknown():
    first, second = np.array([[0, 1, 0]], np.float32), np.array([[0.9, 0.1, 0]], np.float32)
    mean = geometric_mean([first, second])
    assert 0 < mean[0, 0] < mean[0, 1]
    assert mean[0, 2] == 0


class TestAtASite:
    @pytest.fixture
    def home(self, fitted_copy):
        return fitted_copy

    @pytest.fixture
    def lying(self, digits, tmp_path):
        """The same test images, each turned by 90 degrees and mirrored."""
        images = dict(np.load(digits, allow_pickle=False))
        images["test_images"] = np.rot90(images["test_images"], 1, (1, 2))[:, ::-1]
        np.savez(tmp_path / "lying.npz", **images)
        return tmp_path / "lying.npz"

    def probabilities(self, home, data, out, *options):
        done = agent(home, "predict", "--data", data, "--output", out, *options)
        assert done.code == 0, done.err
        document = json.loads(out.read_text())
        found = [list(item["probabilities"].values()) for item in document["predictions"]]
        return document, np.array(found), done.out

    @pytest.mark.parametrize("options", [[], ["--prevalence", "zero=1,one=9"]])
    def test_in_eight_turns_the_answer_does_not_depend_on_how_an_image_lies(
        self, home, digits, lying, tmp_path, options
    ):
        out = tmp_path / "out.json"
        document, upright, said = self.probabilities(
            home, digits, out, "--views", "turned", *options
        )
        assert document["views"] == "turned"
        assert "each judged in eight turns" in said
        assert upright == pytest.approx(
            self.probabilities(home, lying, out, "--views", "turned", *options)[1], abs=1e-4
        )
        plain = self.probabilities(home, digits, out, *options)
        assert plain[0]["views"] == "one"
        assert "each judged" not in plain[2]
        assert np.abs(plain[1] - self.probabilities(home, lying, out, *options)[1]).max() > 0.01

    def test_the_flag_is_that_of_the_image_as_it_is(self, home, digits, tmp_path):
        out = tmp_path / "out.json"
        flags = [
            [item["in_distribution"] for item in document["predictions"]]
            for document, _, _ in (
                self.probabilities(home, digits, out, "--views", views) for views in VIEWS
            )
        ]
        assert flags[0] == flags[1] == flags[2]

    def test_evaluate_measures_what_predict_answers(self, home, digits, tmp_path):
        options = ["--evidence", "--views", "mirrored"]
        said = agent_json(home, "evaluate", "--data", digits, *options)
        assert (said["views"], said["evidence"]) == ("mirrored", True)
        document, _, _ = self.probabilities(home, digits, tmp_path / "out.json", *options)
        images = np.load(digits, allow_pickle=False)
        truth = images["class_names"][images["test_labels"].reshape(-1)]
        found = [item["label"] for item in document["predictions"]]
        assert said["figures"]["accuracy"] == pytest.approx((truth == found).mean(), abs=1e-4)

    def test_unknown_views_are_refused_before_an_image_is_read(self, home, tmp_path):
        from client_agent.steps.evaluate import evaluate
        from client_agent.steps.predict import predict

        done = agent(home, "predict", "--data", tmp_path / "none.npz", "--views", "sideways")
        assert done.code == 2
        assert "mirrored" in done.err
        site = open_site(Home(home))
        for step in (predict, evaluate):
            with pytest.raises(UsageError, match="sideways"):
                step(site, tmp_path / "none.npz", views="sideways")
