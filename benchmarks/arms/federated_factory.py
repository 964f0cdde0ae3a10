"""Federated Factory: one classifier on synthetic images, the modules' evidence, own class mixed in.

**Evidence.** What each module says of an image (client_agent/evidence) is multiplied with what the
classifier says, as `ff-agent predict --evidence` does. It needs no training and no more bytes.

**Mixing.** A site that put its real images beside the others' synthetic ones would teach its
classifier to tell real from synthetic: only its own class would be real, and every real image
later would be called that class. Replacing a part of the class does not help, since "looks real"
would still mean "is my class". So no real image enters as it is: the site draws each anew with its
own generator (`rerendering`), which keeps what is in the image and takes its texture away.
Every image in the set then carries a generator's marks, those of the own class included. Half of
the own class is replaced so; the number of images a class stays equal. Whether it worked is
measured: `own_pull` is the share of validation images of other classes that the sites' classifiers
call their own. It is near 0 where the classes are easy to tell apart and would be near 1 if the
classifiers had learnt what is real.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from benchmarks.arms.classifiers import Classifier, product, train_classifier
from benchmarks.arms.keeping import Work, keep, total
from benchmarks.arms.modules import Stage, admitted, make_stage, spec_of
from benchmarks.arms.prevalence import choose_prevalence
from benchmarks.arms.rerendering import rerender
from benchmarks.arms.views import choose_views
from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Learnt, Predictor, Probabilities, Task
from client_agent.classifier.network import build_network
from client_agent.demo.averaging import plain
from client_agent.evidence.judgement import class_evidence
from client_agent.evidence.judgement import product as multiply
from client_agent.registry.modules import read_card
from ff_protocol.files import write_atomically

MIXED_SHARE = 0.5
"""Share of its own class that a site replaces by its real images, drawn anew."""
_WEIGHTS = "classifier.safetensors"


def synthetic_only(task: Task) -> Learnt:
    """Train the one classifier that every site ends with: no real image is in its training set."""
    stage = make_stage(task)
    classifier, work = _synthetic_classifier(task, stage)
    done = total([stage.work, work])
    return _learnt(task, stage, [classifier.predictor(task)], done, classifier.describe())


def with_evidence(task: Task) -> Learnt:
    """Multiply that classifier with the modules' evidence: nothing more is trained or sent."""
    stage = make_stage(task)
    classifier, work = _synthetic_classifier(task, stage)
    modules = [admitted(folder) for folder in stage.modules.values()]
    known, spec = list(classifier.known), spec_of(task, 1)
    # For the classifier alone: to ask the modules of eight views would take eight times as long.
    judge, views = choose_views(classifier.predictor(task), task)

    def predict(images: NDArray[np.uint8]) -> Probabilities:
        evidence = np.full((len(images), len(task.classes)), -np.inf)
        names = [spec.classes[label] for label in known]
        evidence[:, known] = class_evidence(modules, names, images, spec, task.progress)
        return multiply(judge(images), evidence)

    details = {**classifier.describe(), "views": [views]}
    return _learnt(task, stage, [predict], total([stage.work, work]), details)


def _synthetic_classifier(task: Task, stage: Stage) -> tuple[Classifier, Work]:
    """Train, or read back, the classifier that saw synthetic images only."""
    left = (1 - task.rule.reserve / 2) * task.seconds - stage.work.seconds
    folder = task.work / "classifier"

    def train() -> dict[str, Any]:
        classifier = train_classifier(task, stage.synthetic, left)
        return {**_write(classifier, folder), **classifier.describe()}

    work = keep(folder, train)
    values = work.values
    classifier = _read(task, folder, values["known"])
    passes = {"epochs": values["epochs"], "recipe_epochs": values["recipe_epochs"]}
    return replace(classifier, **passes), work


def mixed(task: Task) -> Learnt:
    """Train one classifier a site; the figures are the mean over the sites.

    All of them together get the classifier's share of the budget, also where `ff` needs less.
    """
    stage = make_stage(task)
    predictors, work = _mixed_classifiers(task, stage)
    details = {"own_pull": own_pull(task, predictors)}
    return _learnt(task, stage, predictors, total([stage.work, work]), details)


def mixed_product(task: Task) -> Learnt:
    """Let the sites share those classifiers too and multiply them: the reference's headline arm."""
    stage = make_stage(task)
    predictors, work = _mixed_classifiers(task, stage)
    learnt = _learnt(task, stage, [product(predictors)], total([stage.work, work]), {})
    return replace(learnt, bytes_per_site=learnt.bytes_per_site + work.values["bytes"])


def own_pull(task: Task, predictors: list[Predictor]) -> float | None:
    """Return the share of others' validation images that a site's classifier calls its own.

    Returns:
        the mean over the sites; None where every site holds every class.
    """
    shares = []
    for site, predict in zip(task.sites, predictors, strict=True):
        own = np.unique(site.labels)
        foreign = task.validation.images[~np.isin(task.validation.labels, own)]
        if len(foreign):
            shares.append(float(np.isin(predict(foreign).argmax(axis=1), own).mean()))
    return float(np.mean(shares)) if shares else None


def _mixed_classifiers(task: Task, stage: Stage) -> tuple[list[Predictor], Work]:
    """Train, or read back, every site's classifier; the work's values hold their bytes."""
    seconds = task.rule.classifier_share * task.seconds / len(task.sites)
    predictors, works = [], []
    with task.progress.task("classifiers of the sites", len(task.sites)) as shown:
        for site in range(len(task.sites)):
            folder = task.work / "mixed" / f"site-{site}"
            works.append(keep(folder, lambda: _mix_and_train(task, stage, site, folder, seconds)))  # noqa: B023
            predictors.append(_read(task, folder, works[-1].values["known"]).predictor(task))
            shown.update(site + 1)
    size = sum(work.values["bytes"] for work in works)
    return predictors, replace(total(works), values={"bytes": size})


def _mix_and_train(
    task: Task, stage: Stage, site: int, folder: Path, seconds: float
) -> dict[str, Any]:
    started = time.monotonic()
    data = mix(task, stage, site)
    left = seconds - (time.monotonic() - started)
    classifier = train_classifier(task, data, left, seed=task.seed + 1000 * site)
    return _write(classifier, folder)


def mix(task: Task, stage: Stage, site: int) -> Labelled:
    """Return the synthetic set with half of the site's own classes drawn anew from real images."""
    images = stage.synthetic.images.copy()
    for (holder, label), folder in stage.modules.items():
        if holder != site:
            continue
        members = np.flatnonzero(stage.synthetic.labels == label)
        drawn = rerender(task, site, label, round(MIXED_SHARE * len(members)), folder)
        images[members[: len(drawn)]] = drawn
    return Labelled(images, stage.synthetic.labels)


def _write(classifier: Classifier, folder: Path) -> dict[str, Any]:
    assert classifier.network is not None, "a stage has at least two classes"
    weights = save_tensors(plain(classifier.network.state_dict()))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _WEIGHTS, weights)
    return {"bytes": len(weights), "known": list(classifier.known)}


def _read(task: Task, folder: Path, known: list[int]) -> Classifier:
    network = build_network(task.settings, task.image_size, task.channels, len(known))
    network.load_state_dict(load_tensors((folder / _WEIGHTS).read_bytes()))
    return Classifier(network.eval(), tuple(known))


def _learnt(
    task: Task, stage: Stage, predictors: list[Predictor], work: Work, details: dict[str, Any]
) -> Learnt:
    held = [
        (label, read_card(folder).training.images) for (_, label), folder in stage.modules.items()
    ]
    chosen = [choose_prevalence(predict, task, held) for predict in predictors]
    return Learnt(
        tuple(predict for predict, _ in chosen),
        bytes_per_site=stage.bytes,
        rounds=1,
        earlier_seconds=work.earlier_seconds,
        earlier_cpu_seconds=work.earlier_cpu_seconds,
        details={**stage.details, **details, "prevalence": [which for _, which in chosen]},
    )
