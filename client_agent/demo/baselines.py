"""What a federation is compared with: every site alone, FedAvg, and all images in one place.

All arms train the classifier of the product (client_agent/classifier) with one recipe and one
preprocessing and are measured on one test set, so that they differ in what travels and in nothing
else. FedAvg is McMahan et al., arXiv 1602.05629, algorithm 1 with every client in every round:
nothing in it is weakened; with mutually exclusive labels each client drags the shared head towards
its own classes, and that is what the figures show.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from client_agent.classifier.evaluation import Evaluation, average, evaluate_probabilities
from client_agent.classifier.network import build_network
from client_agent.classifier.settings import ClassifierSettings
from client_agent.classifier.training import (
    ClassifierProgress,
    Schedule,
    check_training_set,
    fit_classifier,
    predict_network,
    reproducible,
    train_epochs,
)
from client_agent.demo.averaging import State, average_rounds, local_epochs_for, state_bytes
from client_agent.errors import DataError

MIN_ROUNDS = 5

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Baseline:
    """What one comparison arm reached.

    Attributes:
        evaluation: figures on the common test set; for `own_classes` the mean over the sites.
        per_site: one evaluation a site for `own_classes`, else empty.
        bytes_per_site: model bytes that one site sent and received, as serialised.
        rounds: communication rounds; None takes as many as `bytes_budget` pays for.
        bytes_budget: bytes that a site may send and receive; at least `MIN_ROUNDS` are run.
        local_epochs: passes of each site over its images in a round; 0 without rounds.
        seconds: wall time of training and measuring, all sites one after the other.
    """

    evaluation: Evaluation
    per_site: tuple[Evaluation, ...]
    bytes_per_site: int
    rounds: int
    local_epochs: int
    seconds: float


def own_classes(
    sites: Sequence[Labelled],
    test: Labelled,
    *,
    classes: tuple[str, ...],
    settings: ClassifierSettings,
    on_progress: Callable[[float], None] | None = None,
) -> Baseline:
    """Train every site on its own images; measure each on the whole test set, and average.

    A site with a single class needs no training: it answers with that class.

    Args:
        sites: images uint8 [n, H, W, C] and labels int64 [n], indices into `classes`, per site.
        test: the common test set in the same form.
        classes: all classes of the federation.
        settings: network and recipe.
        on_progress: called with the share done, 0 to 1.

    Raises:
        DataError: a site's images and labels do not fit. TrainingError: the loss is not finite.
    """
    started = time.monotonic()
    _check(sites, classes)
    evaluations = []
    for number, (images, labels) in enumerate(sites):
        held = np.unique(labels)
        known = tuple(classes[index] for index in held)
        if len(held) == 1:
            probabilities = np.ones((len(test[0]), 1), dtype=np.float32)
        else:
            fitted = fit_classifier(
                images,
                np.searchsorted(held, labels),
                classes=known,
                settings=settings,
                on_progress=_share(on_progress, number, len(sites)),
            )
            probabilities = predict_network(fitted.network, test[0], settings.threads)
        evaluations.append(
            evaluate_probabilities(probabilities, test[1], classes=classes, known=known)
        )
    _done(on_progress)
    return Baseline(average(evaluations), tuple(evaluations), 0, 0, 0, time.monotonic() - started)


def centralised(
    sites: Sequence[Labelled],
    test: Labelled,
    *,
    classes: tuple[str, ...],
    settings: ClassifierSettings,
    on_progress: Callable[[float], None] | None = None,
) -> Baseline:
    """Train on all images in one place, which no hospital may do: the upper bound.

    Arguments and faults as `own_classes`; every class must be held by some site.
    """
    started = time.monotonic()
    _check(sites, classes)
    fitted = fit_classifier(
        np.concatenate([images for images, _ in sites]),
        np.concatenate([labels for _, labels in sites]),
        classes=classes,
        settings=settings,
        on_progress=_share(on_progress, 0, 1),
    )
    probabilities = predict_network(fitted.network, test[0], settings.threads)
    evaluation = evaluate_probabilities(probabilities, test[1], classes=classes)
    _done(on_progress)
    return Baseline(evaluation, (), 0, 0, 0, time.monotonic() - started)


def fedavg(
    sites: Sequence[Labelled],
    test: Labelled,
    *,
    classes: tuple[str, ...],
    settings: ClassifierSettings,
    rounds: int | None = None,
    bytes_budget: int = 0,
    local_epochs: int | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Baseline:
    """Average the sites' weights after each of `rounds` rounds of `local_epochs` local passes.

    The step size follows the recipe's one cycle over all rounds. Weights and the running statistics
    of the normalisations are averaged with the sites' numbers of images as weights; a site begins
    each round with a fresh optimiser, as in the paper. `bytes_per_site` is the size of what really
    travels: the model in safetensors form, down and up, every round.

    Arguments and faults as `own_classes`, and:

    Args:
        rounds: communication rounds; None takes as many as `bytes_budget` pays for.
        bytes_budget: bytes that a site may send and receive; at least `MIN_ROUNDS` are run.
        local_epochs: passes of each site over its images in a round (E in the paper); None takes
            five, fewer where the sites hold so many images that a round would take minutes.
    """
    started = time.monotonic()
    _check(sites, classes)
    sizes = [len(images) for images, _ in sites]
    if local_epochs is None:
        local_epochs = local_epochs_for(sizes)
    with reproducible(settings.threads):
        image_size, channels = sites[0][0].shape[1], sites[0][0].shape[3]
        network = build_network(settings, image_size, channels, len(classes))
        if rounds is None:
            rounds = max(MIN_ROUNDS, bytes_budget // (2 * state_bytes(network)))
        work = RecipeWork(sites, settings, rounds, local_epochs)
        travelled = average_rounds(
            network, sizes, rounds, work, after_site=on_progress or (lambda share: None)
        )
        probabilities = predict_network(network, test[0], settings.threads)
    evaluation = evaluate_probabilities(probabilities, test[1], classes=classes)
    return Baseline(evaluation, (), travelled, rounds, local_epochs, time.monotonic() - started)


class RecipeWork:
    """Local work that is the classifier's own recipe, its one cycle stretched over all rounds.

    A site begins each round with a fresh optimiser, as in the paper.

    Args:
        sites: images and labels of each.
        settings: network and recipe.
        rounds, local_epochs: how much is to come, which the step size follows.
    """

    def __init__(
        self,
        sites: Sequence[Labelled],
        settings: ClassifierSettings,
        rounds: int,
        local_epochs: int,
    ) -> None:
        self._sites, self._settings, self._epochs = sites, settings, local_epochs
        self._schedules = [
            Schedule(settings, rounds * local_epochs * settings.steps_per_epoch(len(images)))
            for images, _ in sites
        ]

    def down(self) -> State:
        """Send nothing but the weights."""
        return {}

    def train(self, number: int, site: int, network: nn.Module) -> State:
        """Make the round's passes over the site's images."""
        images, labels = self._sites[site]
        train_epochs(
            network,  # type: ignore[arg-type]
            images,
            labels,
            settings=self._settings,
            schedule=self._schedules[site],
            epochs=range(number * self._epochs, (number + 1) * self._epochs),
            stream=site,
        )
        return {}

    def collect(self, sent_up: Sequence[State]) -> None:
        """Nothing came."""


def _check(sites: Sequence[Labelled], classes: tuple[str, ...]) -> None:
    if not sites:
        raise DataError("there is no site to train at")
    for images, labels in sites:
        check_training_set(images, labels, len(classes))


def _share(
    on_progress: Callable[[float], None] | None, number: int, count: int
) -> Callable[[ClassifierProgress], None] | None:
    """Turn the progress of one of `count` trainings into that of all."""
    if on_progress is None:
        return None
    return lambda now: on_progress((number + now.fraction) / count)


def _done(on_progress: Callable[[float], None] | None) -> None:
    if on_progress is not None:
        on_progress(1.0)
