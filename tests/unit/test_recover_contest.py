"""The comparison's frame: results.json, going on when interrupted, the untouched test set."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("sklearn")

from click.testing import CliRunner

from benchmarks.arms import classifiers, federated
from benchmarks.recover import main
from benchmarks.recovery import budget
from benchmarks.recovery import contest as frame
from benchmarks.recovery.budget import BudgetRule, make_plan, measure_training_rate, within
from benchmarks.recovery.contest import Contest
from benchmarks.recovery.data import Labelled
from client_agent.errors import UsageError
from tests.recovery import FEW_SAMPLES, QUICK, RATE, quarter_data

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    """Rates do not matter here, and measuring them takes time; so does a second pass."""
    monkeypatch.setattr(federated, "local_epochs_for", lambda sizes: 1)
    monkeypatch.setattr(frame, "measure_training_rate", lambda *a: RATE)


def contest(out, **changes):
    values = {"data": quarter_data(), "split": "two", "out": out, "settings": QUICK}
    return Contest(**{**values, "rule": FEW_SAMPLES, "rounds": 3, **changes})


def stored(out):
    return json.loads((out / "results.json").read_text())


def test_results_hold_every_figure_with_where_it_came_from(tmp_path):
    contest(tmp_path, command="python -m benchmarks.recover --x").run(
        ["own", "fedavg", "gaussian"], [0, 1], [3.0]
    )
    found = stored(tmp_path)
    assert found["schema_version"] == 1
    assert found["dataset"]["train"] == [24, 24, 24, 24]
    assert [(run["arm"], run["seed"]) for run in found["runs"]] == [
        (arm, seed) for seed in (0, 1) for arm in ("own", "fedavg", "gaussian")
    ]
    for run in found["runs"]:
        assert 0 <= run["accuracy"] <= 1
        assert 0 <= run["auroc"] <= 1
        assert 0 <= run["f1"] <= 1
        assert run["seconds"] >= 0
        assert run["cpu_seconds"] >= 0
        assert (run["split"], run["part"], run["budget"]) == ("two", "test", 3.0)
        assert run["command"] == "python -m benchmarks.recover --x"
        assert run["environment"]["load_average"]
        assert run["environment"]["commit"]
        assert run["environment"]["libraries"]["torch"]
    fedavg = found["runs"][1]
    assert fedavg["rounds"] == 3
    assert fedavg["bytes_per_site"] > 0
    by_arm = {item["arm"]: item for item in found["summary"]}
    assert by_arm["gaussian"]["seeds"] == [0, 1]
    mean = np.mean([run["accuracy"] for run in found["runs"] if run["arm"] == "own"])
    assert by_arm["own"]["mean"]["accuracy"] == pytest.approx(mean)
    assert by_arm["own"]["spread"]["accuracy"] >= 0


def test_an_interrupted_comparison_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    real, ran = frame.find_arm, []

    def watched(name):
        ran.append(name)
        if ran == ["own", "poe_local"]:
            raise KeyboardInterrupt
        return real(name)

    monkeypatch.setattr(frame, "find_arm", watched)
    with pytest.raises(KeyboardInterrupt):
        contest(tmp_path).run(["own", "poe_local"], [0], [3.0])
    before = stored(tmp_path)["runs"]
    assert [run["arm"] for run in before] == ["own"]
    contest(tmp_path).run(["own", "poe_local"], [0], [3.0])
    after = stored(tmp_path)["runs"]
    assert after[0] == before[0]
    assert [run["arm"] for run in after] == ["own", "poe_local"]
    assert ran == ["own", "poe_local", "poe_local"]


def test_no_choice_depends_on_the_test_images(tmp_path):
    data = quarter_data(train=48)
    random = np.random.default_rng(7)
    poison = Labelled(
        random.integers(0, 256, data.test.images.shape, dtype=np.uint8),
        random.permutation(data.test.labels),
    )
    arms = ["fedprox", "gaussian", "centralised"]
    runs = {}
    for name, test in (("clean", data.test), ("poisoned", poison)):
        out = tmp_path / name
        contest(out, data=replace(data, test=test), rounds=20).run(arms, [0], [3.0])
        runs[name] = stored(out)["runs"]
    for clean, poisoned in zip(runs["clean"], runs["poisoned"], strict=True):
        choices = [{**run["details"], "recall": None} for run in (clean, poisoned)]
        assert choices[0] == choices[1]
        assert clean["rounds"] == poisoned["rounds"]
    assert runs["clean"][2]["accuracy"] > 0.8
    assert runs["poisoned"][2]["accuracy"] < 0.6  # it was really another test set


def test_no_arm_is_handed_a_test_image(tmp_path):
    for split in ("silos", "scanners"):
        problem = contest(tmp_path, split=split).problem(0, 3.0, RATE)
        given = [*(site.images for site in problem.task.sites), problem.task.validation.images]
        handed = {image.tobytes() for images in given for image in images}
        assert not any(image.tobytes() in handed for image in problem.measured.images)


def test_tuning_measures_on_validation_and_leaves_the_test_images_alone(tmp_path):
    data = quarter_data()
    broken = replace(data, test=Labelled(data.test.images[:0], data.test.labels[:0]))
    contest(tmp_path, data=broken, part="validation").run(["centralised"], [0], [3.0])
    (run,) = stored(tmp_path)["runs"]
    assert run["part"] == "validation"
    assert run["accuracy"] > 0.9


def test_a_folder_belongs_to_one_data_set(tmp_path):
    contest(tmp_path).run(["own"], [0], [3.0])
    other = replace(quarter_data(), sha256="1" * 64)
    with pytest.raises(UsageError, match="other images"):
        contest(tmp_path, data=other).run(["own"], [0], [3.0])


def test_a_curve_repeats_only_what_the_seconds_change(tmp_path):
    contest(tmp_path, split="silos").run(["own", "vae"], [0], [0.5, 1.0])
    assert [(run["arm"], run["budget"]) for run in stored(tmp_path)["runs"]] == [
        ("own", 1.0),
        ("vae", 0.5),
        ("vae", 1.0),
    ]


def test_the_same_seed_gives_the_same_figures(tmp_path):
    for name in ("a", "b"):
        contest(tmp_path / name, split="scanners").run(["fedavg"], [3], [3.0])
    first, second = ([run["accuracy"] for run in stored(tmp_path / n)["runs"]] for n in "ab")
    assert first == second


def test_the_budget_is_divided_by_its_rule():
    rule = BudgetRule(
        classifier_share=0.25, synthesis_share=0.1, samples_per_class=1000, reserve=0.05
    )
    common = {
        "classes": 8,
        "modules": 16,
        "training_rate": 1000.0,
        "settings": replace(QUICK, epochs=None),
    }
    plan = make_plan(rule, 3600, sampling_rate=300, **common)
    assert plan.samples == 1000
    assert plan.synthesis_seconds == pytest.approx(8000 / 300)
    work = common["settings"].epochs_for(8000) * 8
    assert plan.classifier_seconds == pytest.approx(min(work, 900))
    whole = 16 * plan.module_seconds + plan.synthesis_seconds + plan.classifier_seconds
    assert whole == pytest.approx(0.95 * 3600)
    slow = make_plan(rule, 900, sampling_rate=50, **common)
    assert slow.samples == int(0.1 * 900 * 50 / 8)
    assert slow.classifier_seconds <= 0.25 * 900
    assert make_plan(rule, 900, sampling_rate=50, step=200, **common).samples == 400


@pytest.mark.parametrize(("a_batch_takes", "measured"), [(0.001, 64), (0.1, 30), (20.0, 4)])
def test_the_training_rate_is_of_some_seconds_of_training(monkeypatch, a_batch_takes, measured):
    shown = []

    def take(batches, *shape):
        shown.append(batches)
        return batches * a_batch_takes

    monkeypatch.setattr(budget, "_time_batches", take)
    rate = measure_training_rate(QUICK, 8, 1, 4)
    assert shown == [4, measured]
    assert rate == pytest.approx(QUICK.batch_size / a_batch_takes)


def test_passes_are_planned_for_the_time_and_never_exceed_the_recipe():
    recipe = replace(QUICK, epochs=None)
    full = recipe.epochs_for(1000)
    assert within(recipe, 1000, 1e6, 1000.0) == full
    assert within(recipe, 1000, 3.5, 1000.0) == min(3, full)
    assert within(recipe, 1000, 0.001, 1000.0) == 1


@pytest.fixture
def quick_recipe(monkeypatch):
    from client_agent.classifier import settings

    monkeypatch.setattr(settings, "settings_for", lambda spec: QUICK)


def npz(path):
    data = quarter_data()
    np.savez(
        path,
        train_images=data.train.images[..., 0],
        train_labels=data.train.labels[:, None],
        test_images=data.test.images[..., 0],
        test_labels=data.test.labels[:, None],
        class_names=np.array(data.classes),
    )
    return str(path)


def test_the_command_prints_a_table_and_leaves_files(tmp_path, quick_recipe):
    out = tmp_path / "out"
    command = ["--dataset", npz(tmp_path / "quarters.npz"), "--arms", "own,centralised"]
    done = CliRunner().invoke(main, [*command, "--budget", "5", "--out", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "images pooled, one" in done.output
    assert "macro AUROC" in done.output
    assert stored(out)["dataset"]["carved"] == ["validation"]
    assert "| images pooled, one classifier |" in (out / "results.md").read_text()
    figure = (out / "silos-accuracy.svg").read_text()
    assert figure.startswith("<svg")
    assert "each site alone" in figure


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "own,best"], "arm 'best' is unknown"),
        (["--seeds", "0,x"], "cannot read seeds"),
        (["--budget", "soon"], "cannot read seeds or budget"),
        (["--classifier-share", "0.8", "--synthesis-share", "0.2"], "less than a tenth"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, arguments, message):
    out = ["--out", str(tmp_path), "--dataset", "digits", "--quiet"]
    done = CliRunner().invoke(main, [*out, *arguments])
    assert done.exit_code == 2
    assert message in done.output
    assert not list(tmp_path.iterdir())


def test_classifiers_answer_for_all_classes_even_those_they_do_not_know(tmp_path):
    task = contest(tmp_path).problem(0, 3.0, RATE).task
    own = classifiers.train_classifier(task, task.sites[0], 3.0).predictor(task)
    answered = own(task.validation.images)
    held = np.unique(task.sites[0].labels)
    assert answered.shape == (40, 4)
    assert answered[:, held].sum(axis=1) == pytest.approx(np.ones(40), abs=1e-5)
    assert (np.delete(answered, held, axis=1) == 0).all()


def test_an_arm_that_cannot_work_with_the_images_does_not_stop_the_others(tmp_path):
    data = quarter_data(train=40)  # ten a class: too few for a generator
    results = contest(tmp_path, data=data, split="silos").run(["ff", "own"], [0], [3.0])
    assert [run.arm for run in results.runs] == ["own"]
    (failure,) = stored(tmp_path)["failed"]
    assert failure["arm"] == "ff"
    assert "two are the least" in failure["reason"]


@pytest.mark.parametrize("words", [["-m", "benchmarks", "recover"], ["benchmarks/recover.py"]])
def test_the_command_is_reached_in_either_way(words):
    command = [sys.executable, *words, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--curve" in done.stdout
