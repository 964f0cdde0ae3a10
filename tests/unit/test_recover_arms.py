"""Every arm of the comparison runs, and beats chance exactly where it should."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")

from benchmarks.arms import BY_DEFAULT, TITLES, federated, find_arm, modules, one_shot  # noqa: E402
from benchmarks.arms.classifiers import ensemble, product  # noqa: E402
from benchmarks.arms.ddpm import DdpmRecipe, train_ddpm  # noqa: E402
from benchmarks.arms.gaussian import fit_gaussian  # noqa: E402
from benchmarks.arms.prevalence import choose_prevalence  # noqa: E402
from benchmarks.arms.vae import train_vae  # noqa: E402
from benchmarks.arms.validating import MOST_IMAGES  # noqa: E402
from benchmarks.arms.views import choose_views, with_views  # noqa: E402
from benchmarks.recovery.contest import Problem, measure  # noqa: E402
from benchmarks.recovery.data import Labelled  # noqa: E402
from benchmarks.recovery.task import Learnt  # noqa: E402
from client_agent.errors import DataError  # noqa: E402
from tests.recovery import CLASSES, FEW_SAMPLES, QUICK, quarter_data, quarter_task, quarters  # noqa: E402

CHANCE = 1 / len(CLASSES)


def evaluated(name, task):
    learnt = find_arm(name)(task)
    return learnt, measure(learnt, Problem(task, quarter_data().test))


def test_the_command_offers_every_arm_and_leaves_out_the_stock_recipe_unless_asked():
    assert set(TITLES) - set(BY_DEFAULT) == {"ddpm"}
    assert all(callable(find_arm(name)) for name in TITLES)


def test_a_site_alone_stays_at_chance_and_the_pooled_images_do_not(tmp_path):
    alone, figures = evaluated("own", quarter_task(tmp_path))
    assert len(alone.predictors) == 4
    assert figures.accuracy == pytest.approx(CHANCE)
    assert figures.macro_auroc == pytest.approx(0.5)
    pooled, figures = evaluated("centralised", quarter_task(tmp_path))
    assert figures.accuracy > 0.9
    assert (pooled.bytes_per_site, pooled.rounds) == (0, 0)
    assert evaluated("centralised_ensemble", quarter_task(tmp_path))[1].accuracy > 0.9


@pytest.mark.parametrize("name", ["fedavg_gn", "fedprox", "scaffold", "scaffold_gn"])
def test_averaging_learns_where_sites_hold_the_same_classes(tmp_path, name):
    whole = quarters(160, 1)
    halves = tuple(whole.take(np.arange(part, part + 80)) for part in (0, 80))
    # Groups of two channels on the last stage's single pixel would be +1 and -1 and nothing else.
    settings = replace(QUICK, widths=(16, 16, 32, 32))
    task = quarter_task(tmp_path, sites=halves, rounds=8, settings=settings)
    learnt, figures = evaluated(name, task)
    assert figures.accuracy > 0.9
    assert learnt.rounds == 8
    assert learnt.bytes_per_site > 0
    assert learnt.details["best_round"] >= 1


def test_the_grid_is_decided_on_validation_and_a_round_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(federated, "local_epochs_for", lambda sizes: 1)
    learnt, _ = evaluated("fedprox", quarter_task(tmp_path, split="two", rounds=20))
    tried = learnt.details["tried"]
    assert len(tried) == 3
    assert max(tried, key=lambda name: tried[name]) == str(learnt.details["chosen"])
    assert learnt.rounds == 20 - 3 * 3


def test_experts_of_one_class_multiply_to_little_and_experts_of_all_classes_to_much(tmp_path):
    learnt, figures = evaluated("poe_local", quarter_task(tmp_path))
    assert figures.accuracy < 0.7
    assert learnt.rounds == 1
    whole = quarters(160, 1)
    halves = tuple(whole.take(np.arange(part, part + 80)) for part in (0, 80))
    assert evaluated("poe_local", quarter_task(tmp_path, sites=halves))[1].accuracy > 0.9


def test_a_product_is_the_normalised_geometric_mean_and_an_ensemble_the_mean():
    a = np.array([[0.8, 0.2], [1.0, 0.0]], np.float32)
    b = np.array([[0.5, 0.5], [0.5, 0.5]], np.float32)
    multiplied = product([lambda _: a, lambda _: b])(None)
    root = np.sqrt(a[0] * b[0])
    assert multiplied[0] == pytest.approx(root / root.sum(), abs=1e-6)
    assert multiplied[1, 1] > 0  # nobody has a veto
    assert ensemble([lambda _: a, lambda _: b])(None)[0] == pytest.approx([0.65, 0.35])


@pytest.mark.parametrize("name", ["gaussian", "vae"])
def test_one_shot_rivals_recover_easy_classes(tmp_path, name):
    rule = replace(FEW_SAMPLES, module_steps=40)
    learnt, figures = evaluated(name, quarter_task(tmp_path, seconds=600.0, rule=rule))
    assert figures.accuracy > 0.7
    assert learnt.rounds == 1
    assert learnt.details["samples"] == [40] * 4


def test_the_gaussian_has_the_moments_of_its_class_and_sends_what_it_counts():
    images = quarters(400, 5)
    own = images.images[images.labels == 1]
    gaussian = fit_gaussian(own, own[:20])
    made = gaussian.sample(2000, seed=1, seconds=0)
    assert np.abs(made.mean(axis=0) - own.mean(axis=0)).max() < 6
    assert np.array_equal(made, gaussian.sample(2000, seed=1, seconds=0))
    numbers = gaussian.mean.size + gaussian.axes.size + gaussian.scales.size + 1
    assert gaussian.bytes == 4 * numbers


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_tiny_classes_do_not_break_the_rivals(count):
    images = quarters(4 * count, 1).images[:count]
    assert fit_gaussian(images, images[:0]).sample(7, 0, 0).shape == (7, 8, 8, 1)
    vae = train_vae(images, images[:0], seconds=60, steps=5, seed=0, threads=1)
    assert vae.sample(7, 0, 0).shape == (7, 8, 8, 1)


def test_the_stock_recipe_trains_and_samples_within_bounds(monkeypatch, tmp_path):
    small = DdpmRecipe(channels=(32, 32), attention_level=-1, sampling_steps=5)
    own = quarters(40, 1).images
    made = train_ddpm(own, own[:0], seconds=60, steps=6, seed=0, threads=1, recipe=small)
    assert 4 <= made.steps <= 6
    images = made.sample(6, seed=0, seconds=60)
    assert (images.shape, images.dtype) == ((6, 8, 8, 1), np.uint8)
    assert 1 <= len(made.sample(1000, seed=0, seconds=0.01)) < 1000
    monkeypatch.setattr(one_shot, "find_family", lambda name: lambda *a, **k: made)
    learnt, figures = evaluated("ddpm", quarter_task(tmp_path, seconds=4.0))
    assert learnt.bytes_per_site == 4 * made.bytes
    assert 0 <= figures.accuracy <= 1


FACTORY = ("ff", "ff_evidence", "ff_mixed", "ff_poe")


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """The arms of Federated Factory on one work folder, in the order of the table."""
    rule = replace(FEW_SAMPLES, module_steps=25)
    task = quarter_task(tmp_path_factory.mktemp("factory"), seconds=1200.0, rule=rule)
    return task, {name: evaluated(name, task) for name in FACTORY}


def test_federated_factory_recovers_easy_classes(factory):
    _, arms = factory
    for name, (learnt, figures) in arms.items():
        assert figures.accuracy > 0.6, name
        assert learnt.rounds == 1
    assert len(arms["ff_mixed"][0].predictors) == 4
    assert len(arms["ff_poe"][0].predictors) == 1
    assert arms["ff_evidence"][1].accuracy >= arms["ff"][1].accuracy


def test_its_arms_share_modules_and_each_counts_the_time_of_all(factory):
    task, arms = factory
    details = [learnt.details for learnt, _ in arms.values()]
    assert all(item["steps"] == details[0]["steps"] for item in details)
    # Evidence costs no training: the classifier is the one that `ff` left.
    assert arms["ff_evidence"][0].earlier_seconds > details[0]["training_seconds"]
    assert arms["ff_evidence"][0].details["epochs"] == arms["ff"][0].details["epochs"]
    assert arms["ff"][0].earlier_seconds == 0
    assert [len(item["prevalence"]) for item in details] == [1, 1, 4, 1]
    assert arms["ff_mixed"][0].earlier_seconds >= details[0]["training_seconds"]
    assert arms["ff_poe"][0].earlier_seconds > arms["ff_mixed"][0].earlier_seconds
    again = find_arm("ff")(task)
    assert again.earlier_seconds >= details[0]["training_seconds"]


def test_its_bytes_are_those_of_the_modules_and_of_shared_classifiers(factory):
    task, arms = factory
    assert len(list((task.work / "modules").glob("*/module.onnx"))) == 4
    modules_bytes = sum(
        path.stat().st_size
        for name in ("module.onnx", "card.json")
        for path in (task.work / "modules").glob(f"*/{name}")
    )
    assert arms["ff"][0].bytes_per_site == modules_bytes
    assert arms["ff_evidence"][0].bytes_per_site == modules_bytes
    assert arms["ff_mixed"][0].bytes_per_site == modules_bytes
    classifiers = list((task.work / "mixed").glob("*/classifier.safetensors"))
    assert len(classifiers) == 4
    shared = sum(path.stat().st_size for path in classifiers)
    assert arms["ff_poe"][0].bytes_per_site == modules_bytes + shared


def test_no_real_image_enters_the_mixed_set_as_it_is(factory):
    from benchmarks.arms.federated_factory import mix

    task, arms = factory
    stage = modules.make_stage(task)
    data = mix(task, stage, site=2)
    changed = (data.images != stage.synthetic.images).any(axis=(1, 2, 3))
    assert set(data.labels[changed].tolist()) == {2}
    assert changed.sum() == (data.labels == 2).sum() // 2
    real = {image.tobytes() for image in task.sites[2].images}
    assert not any(image.tobytes() in real for image in data.images)
    # What was drawn anew stays near the real image that it came from.
    drawn = data.images[changed].astype(float)
    nearest = [np.abs(task.sites[2].images - image).mean(axis=(1, 2, 3)).min() for image in drawn]
    assert np.median(nearest) < 60
    assert 0 <= arms["ff_mixed"][0].details["own_pull"] <= 1


UNEQUAL = ((0, "512-1023"), (1, "64-127"), (2, "64-127"), (3, "64-127"))


def hesitant(images):
    """Say nothing of any image: what is chosen then follows from the shares alone."""
    return np.full((len(images), len(CLASSES)), 0.25, np.float32)


@pytest.mark.parametrize(("common", "expected"), [(True, "training"), (False, "even")])
def test_prevalence_is_chosen_by_the_validation_images(tmp_path, common, expected):
    task = quarter_task(tmp_path)
    first = task.validation.labels == 0
    members = np.flatnonzero(first if common else ~first)
    task = replace(task, validation=task.validation.take(members))
    predict, chosen = choose_prevalence(hesitant, task, UNEQUAL)
    assert chosen == expected
    share = 8 / 11 if common else 1 / 4
    assert predict(task.validation.images)[0, 0] == pytest.approx(share, abs=1e-6)


def test_equal_shares_change_nothing_and_few_validation_images_are_asked(tmp_path):
    asked = []
    images = quarters(4 * MOST_IMAGES, 1)
    task = quarter_task(tmp_path, validation=images)

    def predict(given):
        asked.append(len(given))
        return hesitant(given)

    equal = [(label, "64-127") for label in range(len(CLASSES))]
    assert choose_prevalence(predict, task, equal) == (predict, "even")
    nobody = replace(task, validation=images.take(np.arange(0)))
    assert choose_prevalence(predict, nobody, UNEQUAL)[1] == "even"
    assert asked == [MOST_IMAGES, 0]


def bright_to_the_left(images):
    """Be sure of class 0 where the left of an image is bright, and of nothing where it is not."""
    own = np.where(images[:, :, :2].mean((1, 2, 3)) > 100, 0.9, 0.02)[:, None]
    return np.hstack([own, np.repeat((1 - own) / 3, 3, axis=1)]).astype(np.float32)


@pytest.mark.parametrize(
    ("quarters_turned", "expected"),
    [([0, 0, 0, 0], "one"), ([0, 0, 2, 2], "mirrored"), ([0, 1, 2, 3], "turned")],
)
def test_views_are_chosen_by_the_validation_images(tmp_path, quarters_turned, expected):
    left = np.zeros((8, 8, 1), np.uint8)
    left[:, :2] = 200
    dark = np.zeros_like(left)
    images = np.stack([np.rot90(left, times) for times in quarters_turned] + 2 * [dark])
    labels = np.array([0, 0, 0, 0, 1, 2])
    task = quarter_task(tmp_path, validation=Labelled(images, labels))
    predict, chosen = choose_views(bright_to_the_left, task)
    assert chosen == expected
    spread = np.ptp(predict(images)[:4, 0])
    assert spread == pytest.approx(0, abs=1e-6)


def test_an_arm_that_chose_its_views_is_left_alone(tmp_path):
    task = quarter_task(tmp_path)
    learnt = Learnt((hesitant, hesitant))
    assert with_views(learnt, task).details["views"] == ["one", "one"]
    own = replace(learnt, details={"views": ["turned"]})
    assert with_views(own, task) is own


def test_classes_too_small_for_a_generator_are_left_out_and_named(tmp_path):
    task = quarter_task(tmp_path)
    few = task.sites[1].take(np.arange(5))
    alone = task.sites[3].take(np.arange(1))
    sites = (task.sites[0], few, task.sites[2], alone)
    short = replace(task, sites=sites, rounds=2, rule=replace(FEW_SAMPLES, module_steps=3))
    learnt, figures = evaluated("ff", short)
    assert [(item["class"], item["images"]) for item in learnt.details["left_out"]] == [
        ("c1", 5),
        ("c3", 1),
    ]
    assert figures.recall["c1"] == figures.recall["c3"] == 0
    with pytest.raises(DataError, match="two are the least"):
        find_arm("ff")(replace(short, sites=(task.sites[0], few, alone)))
    # The others make do with what there is.
    for name in ("own", "fedavg", "scaffold", "poe_local", "gaussian", "centralised"):
        evaluated(name, replace(short, settings=replace(QUICK, epochs=2)))
