"""What is kept aside: nothing of it may be trained on, in any disguise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_agent.audit import audit
from client_agent.audit.hold_out import MIN_HELD_OUT, MIN_IMAGES_PER_CLASS, hold_out


def singles(count: int) -> tuple[list[str], list[str]]:
    """Images of unknown patients, all different."""
    return [""] * count, [f"image-{index}" for index in range(count)]


@pytest.mark.parametrize(
    ("count", "held"), [(24, 8), (40, 8), (50, 10), (144, 28), (500, 100), (900, 100), (3000, 300)]
)
def test_a_fifth_of_a_small_class_and_a_tenth_of_a_large_one_is_held_out(count, held):
    parts = hold_out(*singles(count), seed=0)
    assert (len(parts.held_out), parts.problem) == (held, None)
    assert sorted(parts.trained_on + parts.held_out) == list(range(count))
    assert list(parts.held_out) == sorted(parts.held_out)


@pytest.mark.parametrize("count", [16, 23])
def test_a_class_too_small_to_part_is_trained_on_whole_and_says_why(count):
    parts = hold_out(*singles(count), seed=0)
    assert (parts.trained_on, parts.held_out) == (tuple(range(count)), ())
    assert f"{count} distinct images, 24 are the least" in parts.problem


def test_few_patients_cannot_be_parted_and_it_says_so():
    parts = hold_out(["a", "b"] * 30, singles(60)[1], seed=0)
    assert parts.held_out == ()
    assert "from 2 patients" in parts.problem


def test_copies_are_no_images_of_their_own():
    identical = hold_out([""] * 60, ["same"] * 60, seed=0)
    assert "1 distinct images" in identical.problem
    doubled = hold_out(*(part * 2 for part in singles(20)), seed=0)
    assert "20 distinct images" in doubled.problem


def test_what_is_held_out_is_enough_for_the_audit():
    assert MIN_HELD_OUT == audit.MIN_HELD_OUT


def test_the_choice_follows_the_seed():
    first, again, other = (hold_out(*singles(100), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.held_out != other.held_out


def test_a_withdrawal_leaves_the_others_on_their_side():
    groups, pixels = singles(200)
    before = {pixels[index] for index in hold_out(groups, pixels, seed=3).held_out}
    gone = sorted(before)[0]
    left = [name for name in pixels if name != gone]
    after = {left[index] for index in hold_out(groups[1:], left, seed=3).held_out}
    assert len(before - {gone} - after) == 0


PATIENTS = st.lists(
    st.tuples(st.sampled_from(["", *"abcdefghijklmnopqrst"]), st.integers(0, 60)),
    min_size=16,
    max_size=150,
)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.integers(0, 5))
def test_no_patient_and_no_copy_is_ever_on_both_sides(images, seed):
    groups = [patient for patient, _ in images]
    pixels = [f"pixels-{number}" for _, number in images]
    parts = hold_out(groups, pixels, seed)
    assert sorted(parts.trained_on + parts.held_out) == list(range(len(images)))
    for keys in (groups, pixels):
        sides = [{keys[index] for index in side} for side in (parts.trained_on, parts.held_out)]
        assert sides[0] & sides[1] <= {""}
    if parts.held_out:
        distinct = len(set(pixels))
        held = len({pixels[index] for index in parts.held_out})
        assert MIN_HELD_OUT <= held <= max(MIN_HELD_OUT, distinct // 5)
        assert distinct - held >= MIN_IMAGES_PER_CLASS
    else:
        assert parts.problem
