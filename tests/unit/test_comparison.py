"""Do images look like their class? On real digits; benchmarks/poison.py has medical images."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks.recovery.scanners import make_scanners
from client_agent.comparison.compare import Known, compare, separability
from client_agent.comparison.discriminant import fit
from client_agent.comparison.features import RENDERINGS, features
from client_agent.comparison.findings import Comparison, Likeness, Validation, find_flags

COUNT = 44


@pytest.fixture(scope="module")
def modules():
    """Features of four modules each of the digits 0 to 2, disjoint; number 1 of other scanners."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    scanners = make_scanners(3, seed=0)
    random = np.random.default_rng(0)
    made = {}
    for digit in range(3):
        chosen = images[bunch.target == digit]
        for part in range(4):
            own = chosen[part::4][:COUNT]  # the same writers in each
            own = scanners[digit].render(own, random) if part == 1 else own
            made[digit, part] = features(own)
    return made


def known(modules, *keys):
    return [Known(str(digit), f"{digit}-{part}", modules[digit, part]) for digit, part in keys]


def codes(comparison):
    return [flag.code for flag in find_flags(comparison)]


EVERYTHING = [(digit, 0) for digit in range(3)]


def test_an_honest_module_of_another_scanner_arouses_no_suspicion(modules):
    for digit in range(3):
        seen = compare(str(digit), modules[digit, 1], known(modules, *EVERYTHING))
        assert codes(seen) == []
        assert max(seen.shares, key=seen.shares.get) == str(digit)
        assert seen.own.separability < seen.other.separability
        assert (seen.samples, seen.modules) == (COUNT, 3)


@pytest.mark.parametrize(("claimed", "true"), [(0, 1), (1, 2), (2, 0)])
def test_a_module_of_another_class_is_found_out_with_figures(modules, claimed, true):
    seen = compare(str(claimed), modules[true, 2], known(modules, *EVERYTHING))
    assert "looks_like_another_class" in codes(seen)
    assert seen.other.class_name == str(true)
    (flag,) = [flag for flag in find_flags(seen) if flag.code == "looks_like_another_class"]
    assert f"{seen.shares[str(true)]:.0%} of its images look like {true}" in flag.text


def test_a_copy_of_a_known_class_under_a_new_name_is_found_out(modules):
    here = known(modules, (0, 0), (1, 0))
    assert codes(compare("2", modules[2, 2], here)) == []
    found = compare("2", modules[1, 2], here)
    assert "copies_another_class" in codes(found)
    assert found.own is None
    assert found.validation.worst_class == "1"
    assert found.validation.worst_after < found.validation.worst_before - 0.2


def test_one_known_class_is_enough_to_find_its_copy(modules):
    assert codes(compare("1", modules[0, 3], known(modules, (0, 0)))) == ["copies_another_class"]
    assert codes(compare("1", modules[1, 3], known(modules, (0, 0)))) == []


def test_images_of_nothing_known_are_unlike_their_class(modules):
    noise = np.random.default_rng(1).integers(0, 255, (COUNT, 8, 8, 1), dtype=np.uint8)
    seen = compare("0", features(noise), known(modules, *EVERYTHING))
    assert "unlike_its_class" in codes(seen)


def test_the_most_alike_module_of_its_class_speaks_for_it(modules):
    several = known(modules, (0, 0), (0, 2), (0, 3), (1, 0))
    seen = compare("0", modules[0, 1], several)
    each = [separability(modules[0, 1], item.points) for item in several[:3]]
    assert seen.own.separability == min(each)


def test_nothing_known_and_too_few_samples_say_nothing(modules):
    alone = compare("0", modules[0, 0], [])
    assert (alone.own, alone.other, alone.shares, codes(alone)) == (None, None, {}, [])
    few = Known("1", "few", modules[1, 0][:15])
    assert compare("0", modules[0, 0], [few]).modules == 0
    assert separability(modules[0, 0][:3], modules[1, 0]) == 1.0


def test_alike_is_a_half_and_different_is_one(modules):
    assert abs(separability(modules[0, 0][0::2], modules[0, 0][1::2]) - 0.5) < 0.2
    assert separability(modules[0, 0], modules[0, 0]) == pytest.approx(0.5, abs=0.01)
    assert separability(modules[0, 0], modules[1, 0]) > 0.95
    back = separability(modules[1, 0], modules[0, 0])
    assert back == pytest.approx(separability(modules[0, 0], modules[1, 0]))


def test_features_are_repeatable_and_finite_for_any_image():
    images = np.stack([np.zeros((28, 28, 3)), np.full((28, 28, 3), 255)]).astype(np.uint8)
    first = features(images)
    assert first.shape == (2, RENDERINGS, 8 * 8 * 3 + 4 * 4 * 8)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert (first == features(images)).all()


def test_the_discriminant_survives_points_that_are_all_alike():
    flat = np.zeros((20, 1, 6), dtype=np.float32)
    assert np.isfinite(fit([flat, flat + 1]).scores(flat)).all()
    found = fit([flat, flat + 1]).scores(np.concatenate([flat, flat + 1]))
    assert (found.argmax(axis=1) == np.repeat([0, 1], 20)).all()


def test_each_figure_alone_decides_at_its_bound():
    near, far = Likeness("b", "m", 0.80), Likeness("a", "n", 0.86)
    plain = Comparison("a", 128, 2, {"a": 0.3, "b": 0.6}, far, near, None, None)
    assert codes(plain) == ["looks_like_another_class"]
    fewer = Comparison("a", 128, 2, {"a": 0.45, "b": 0.5}, far, near, None, None)
    assert codes(fewer) == []
    lost = Validation(0.9, 0.6, "b", 0.9, 0.5)
    assert codes(Comparison("a", 128, 2, {"a": 1.0, "b": 0.0}, near, far, None, lost)) == [
        "harms_validation"
    ]
    # Where known classes lie far apart, a new one that lies near one of them is a copy.
    assert codes(Comparison("c", 128, 2, {}, None, Likeness("b", "m", 0.70), 0.99, None)) == [
        "copies_another_class"
    ]
    assert codes(Comparison("c", 128, 2, {}, None, Likeness("b", "m", 0.70), 0.75, None)) == []


def test_the_figures_as_json_values_are_short_and_name_the_flags(modules):
    value = compare("0", modules[1, 2], known(modules, *EVERYTHING)).to_dict()
    assert value["flags"][0]["code"] == "looks_like_another_class"
    assert value["own"]["separability"] == round(value["own"]["separability"], 4)
