"""The whole audit: planted leaks on digits, honest sets, and images that cannot be audited."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from sklearn.datasets import load_digits  # noqa: E402

from benchmarks.leaks.disguises import DISGUISES  # noqa: E402
from client_agent.audit.audit import (  # noqa: E402
    SiteClasses,
    audit_generator,
    audit_samples,
    samples_wanted,
)
from client_agent.audit.gate import beyond, verdict  # noqa: E402
from client_agent.audit.membership import denoising_losses  # noqa: E402
from client_agent.audit.membership_figures import membership_figures  # noqa: E402
from client_agent.audit.reference import make_reference  # noqa: E402
from client_agent.audit.thresholds import (  # noqa: E402
    Bound,
    Thresholds,
    default_thresholds,
    without_network,
)
from client_agent.errors import DataError  # noqa: E402
from client_agent.generator.presets import preset_for  # noqa: E402
from client_agent.generator.training import Budget, train_generator  # noqa: E402
from ff_protocol.card import Figure  # noqa: E402

TRAINING, HELD_OUT = 64, 12


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def threes() -> np.ndarray:
    """About 180 images of one digit, uint8 [n, 8, 8, 1], in random order."""
    digits = load_digits()
    images = (digits.images[digits.target == 3] * 15.9).astype(np.uint8)[..., None]
    return images[np.random.default_rng(0).permutation(len(images))]


@pytest.fixture(scope="module")
def split(threes):
    return threes[:TRAINING], threes[TRAINING : TRAINING + HELD_OUT], threes[TRAINING + HELD_OUT :]


@pytest.fixture(scope="module")
def reference(split):
    return make_reference(split[0], split[1], None, seed=0)


def figures(result) -> dict[str, Figure]:
    return {**result.memorisation, **result.fidelity}


def failed(result) -> list[str]:
    bounds = without_network(default_thresholds(TRAINING))
    return [failure.figure for failure in verdict(figures(result), bounds)]


def replay(training: np.ndarray, count: int = 400) -> np.ndarray:
    return training[np.random.default_rng(1).integers(0, len(training), count)]


@pytest.mark.parametrize("disguise", list(DISGUISES))
def test_a_replay_is_caught_in_every_disguise(reference, split, disguise):
    samples = DISGUISES[disguise](replay(split[0]), np.random.default_rng(2))
    result = audit_samples(reference, samples, None)
    assert "replayed_images" in failed(result)
    assert result.memorisation["replayed_images"].low > 0.5


def test_one_replay_in_ten_is_caught(reference, split):
    training, _, unseen = split
    random = np.random.default_rng(3)
    # Honest samples: unseen images, blended in pairs so that none is seen twice.
    pairs = random.integers(0, len(unseen), (900, 2))
    honest = (unseen[pairs[:, 0]] * 0.6 + unseen[pairs[:, 1]] * 0.4).astype(np.uint8)
    assert failed(audit_samples(reference, honest, None)) == []
    mixed = np.concatenate([replay(training, 100), honest])
    result = audit_samples(reference, mixed, None)
    assert failed(result) == ["replayed_images"]


def test_real_images_that_nobody_saw_pass(reference, split):
    result = audit_samples(reference, split[2], None)
    assert failed(result) == []
    assert result.memorisation["replayed_images"].low == 0
    assert result.memorisation["dcr_share_pixels"].value < 0.2
    assert result.fidelity["precision"].value > 0.8
    assert result.fidelity["kid"].low <= 0 <= result.fidelity["kid"].high


def test_every_figure_has_interval_and_sample_size_and_fits_a_card(reference, split):
    result = audit_samples(reference, split[2], None)
    names = set(figures(result))
    families = ("replayed_images", "dcr_share", "nearest_ratio", "nearer_to_training")
    for metric in ("pixels", "tolerant", "features"):
        assert {f"{family}_{metric}" for family in families} <= names
    assert {"fid", "kid", "kid_real", "precision", "recall", "density", "coverage"} <= names
    assert {"distinct_samples", "distinct_excess"} <= names
    for name, figure in figures(result).items():
        assert figure.low <= figure.value <= figure.high, name
    assert not {"class_consistency", "membership_auc"} & names


def test_same_seed_same_figures(split):
    once, again = (audit_generator(*split, None, seed=4) for _ in range(2))
    assert once == again


def test_with_other_classes_on_site_samples_are_classified(split):
    digits = load_digits()
    chosen = np.isin(digits.target, (0, 4))
    others = (digits.images[chosen] * 15.9).astype(np.uint8)[..., None]
    training, held_out, unseen = split
    shown: list[float] = []
    own = audit_generator(
        training, held_out, unseen, None, site_classes=SiteClasses(others, digits.target[chosen]),
        on_progress=lambda fraction, text: shown.append(fraction),
    )  # fmt: skip
    assert own.fidelity["class_consistency"].value > 0.9
    assert shown[0] == 0
    assert shown[-1] == 1
    reference = make_reference(
        training, held_out, SiteClasses(others, digits.target[chosen]), seed=0
    )
    assert reference.features.classified_as_own(others).mean() < 0.1


def test_the_network_of_an_overtrained_generator_gives_its_images_away(threes):
    training, held_out = threes[:24], threes[24:64]
    preset = preset_for(
        "tiny", 8, 1, block_out_channels=(16,), patch=2, batch_size=8, sampler_steps=4
    )
    auc = {}
    for steps in (5, 200):
        trained = train_generator(
            training, preset=preset, seed=0, budget=Budget(steps=steps), device="cpu"
        )
        losses = denoising_losses(trained, training, held_out, seed=0)
        assert list(losses.training_index) == list(range(24))
        found = membership_figures(losses, np.arange(24), np.arange(40))
        auc[steps] = found["membership_auc"]
        if steps == 200:
            assert verdict(found, default_thresholds(24)) != ()
            # Images that are not in use are passed over.
            part = membership_figures(losses, np.arange(20), np.arange(9))
            assert part["membership_auc"].samples == "16-31"
    assert auc[5].low < 0.7
    assert auc[200].value > 0.9
    assert auc[200].low > auc[5].value


def test_scores_depend_on_the_seed_alone(threes):
    preset = preset_for("tiny", 8, 1, block_out_channels=(16,), patch=2, batch_size=8)
    trained = train_generator(threes[:16], preset=preset, seed=0, budget=Budget(steps=1))
    one, same, other = (
        denoising_losses(trained, threes[:16], threes[16:24], seed=seed).training["denoising_loss"]
        for seed in (0, 0, 1)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_identical_images_cannot_be_audited():
    images = np.full((40, 8, 8, 1), 90, np.uint8)
    result = audit_generator(images, images[:10], images, None)
    assert result.not_auditable == (
        "only 1 of 40 training images are different: a generator can only replay them"
    )
    assert figures(result) == {}
    demanded = {failure.figure for failure in verdict({}, default_thresholds(40))}
    assert "replayed_images" in demanded


@pytest.mark.parametrize("count", [0, 7])
def test_a_missing_or_small_hold_out_is_named(threes, count):
    result = audit_generator(threes[:30], threes[30 : 30 + count], threes[50:70], None)
    assert result.not_auditable == f"{count} held-out images are too few to audit with"


def test_patients_on_both_sides_are_left_out_and_do_not_blind_the_audit(split):
    training, held_out, _ = split
    both = np.concatenate([training[:6], training[6:10, :, ::-1], held_out])
    result = audit_generator(training, both, replay(training), None)
    assert "10 of 22 held-out images also lie in the training set" in result.notices[0]
    assert "replayed_images" in failed(result)
    only = audit_generator(training, training[:12], replay(training), None)
    assert "only 0 of 12 held-out images" in str(only.not_auditable)


def test_repeats_inside_the_training_set_are_counted_once(split):
    training, held_out, unseen = split
    repeated = np.concatenate([training, training[:20]])
    result = audit_generator(repeated, held_out, unseen, None)
    assert result.notices == ("20 training images repeat another one exactly",)
    assert failed(result) == []


def test_constant_images_of_different_levels_are_audited():
    levels = [np.full((n, 16, 16, 3), 0, np.uint8) for n in (32, 16, 50)]
    for images, start, step in zip(levels, (0, 3, 1), (7, 13, 5), strict=True):
        images[:] = (start + step * np.arange(len(images)) % 250)[:, None, None, None]
    result = audit_generator(*levels, None)
    assert result.not_auditable is None
    assert all(np.isfinite(figure.value) for figure in figures(result).values())


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (64, 1), (256, 3)])
def test_smallest_class_of_any_image_shape(size, channels):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (44, size, size, channels), dtype=np.uint8)
    training, held_out, samples = images[:16], images[16:24], images[24:]
    assert audit_generator(training, held_out, samples, None).not_auditable is None
    assert failed(audit_generator(training, held_out, replay(training, 100), None))


def test_images_that_do_not_fit_are_refused(split):
    training, held_out, unseen = split
    with pytest.raises(DataError, match=r"held-out images are uint8 \[12, 4, 8, 1\]"):
        audit_generator(training, held_out[:, :4], unseen, None)
    with pytest.raises(DataError, match="training images are float64"):
        audit_generator(training / 255, held_out, unseen, None)
    with pytest.raises(DataError, match="samples are uint8"):
        audit_generator(training, held_out, unseen[:, :4], None)
    with pytest.raises(DataError, match="15 samples are too few to audit"):
        audit_generator(training, held_out, unseen[:15], None)


def test_samples_wanted_grow_with_the_class():
    assert [samples_wanted(n) for n in (16, 700, 20_000)] == [1000, 1400, 2000]


def test_gate_judges_the_whole_interval_and_misses_what_was_not_measured():
    def figure(value, low=None, high=None):
        return Figure(value=value, low=low, high=high, samples="32-63")

    bounds = Thresholds({
        "membership_auc": Bound(max=0.6), "coverage": Bound(min=0.5), "recall": None,
        "replayed_images": Bound(max=0.05, required=True), "density": Bound(min=0.1),
    })  # fmt: skip
    unsure = {
        "membership_auc": figure(0.7, 0.55, 0.8), "coverage": figure(0.4, 0.2, 0.55),
        "recall": figure(0.0), "replayed_images": figure(0.05), "other": figure(9.0),
    }  # fmt: skip
    assert verdict(unsure, bounds) == ()
    sure = unsure | {"membership_auc": figure(0.9, 0.61, 0.99), "coverage": figure(0.4, 0.3, 0.49)}
    del sure["replayed_images"]
    lines = [str(failure) for failure in verdict(sure, bounds)]
    assert lines == [
        "membership_auc is 0.9 (0.61 to 0.99), at most 0.6 is allowed",
        "coverage is 0.4 (0.3 to 0.49), at least 0.5 is allowed",
        "replayed_images was not measured (at most 0.05 is demanded)",
    ]


@pytest.mark.parametrize(
    ("fails", "lowest", "text"),
    [("certain", 0.61, "at most 0.6"), ("found", 0.55, "by its value at most 0.6"),
     ("possible", 0.3, "surely at most 0.6")],
)  # fmt: skip
def test_a_bound_fails_what_is_certain_found_or_possible(fails, lowest, text):
    """0.7 in an interval of which the lower end moves; 0.3 mirrored for a least."""
    figures = {
        low: Figure(value=value, low=low, high=high, samples="32-63")
        for low, value, high in (
            (0.61, 0.7, 0.8),
            (0.55, 0.7, 0.8),
            (0.3, 0.5, 0.65),
            (0.2, 0.4, 0.6),
        )
    }
    most, least = Bound(max=0.6, fails=fails), Bound(min=0.4, fails=fails)
    assert {low for low, figure in figures.items() if beyond(figure, most)} == {
        low for low in figures if low >= lowest
    }
    mirrored = {
        low: Figure(value=1 - figure.value, low=1 - figure.high, high=1 - low, samples="32-63")
        for low, figure in figures.items()
    }
    assert {low for low, figure in mirrored.items() if beyond(figure, least)} == {
        low for low in figures if low >= lowest
    }
    assert str(most) == text


def test_of_the_smallest_classes_it_has_to_be_shown_that_the_attack_fails():
    judged = {n: default_thresholds(n).root["membership_auc"] for n in (16, 63, 64, 128)}
    assert [bound.fails for bound in judged.values()] == ["possible"] * 2 + ["certain"] * 2
    assert [bound.max for bound in judged.values()] == [0.8, 0.8, 0.8, 0.75]


def test_a_site_tightens_or_lifts_single_bounds():
    own = Thresholds.model_validate(
        {"membership_auc": {"max": 0.55, "required": True}, "distinct_excess": None}
    )
    merged = own.over(default_thresholds(500)).root
    assert merged["membership_auc"] == Bound(max=0.55, required=True)
    assert merged["distinct_excess"] is None
    assert merged["replayed_images"] == default_thresholds(500).root["replayed_images"]
    for wrong in ({"a": {"max": 1, "min": 0}}, {"a": {}}, {"A": {"max": 1}}, {"a": {"most": 1}}):
        with pytest.raises(ValueError, match="validation error"):
            Thresholds.model_validate(wrong)
