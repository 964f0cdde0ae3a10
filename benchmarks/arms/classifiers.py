"""The one classifier that every arm trains: the product's network, recipe and prediction.

The recipe makes a number of passes that is fixed beforehand and ends with a step size of 0, so its
last pass is taken; where the time does not suffice for all passes, fewer are planned, never cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.recovery.budget import within
from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Predictor, Probabilities, Task
from client_agent.classifier.network import ClassifierNetwork, build_network
from client_agent.classifier.probabilities import geometric_mean
from client_agent.classifier.settings import ClassifierSettings
from client_agent.classifier.training import (
    Schedule,
    fit_classifier,
    predict_network,
    reproducible,
    train_epochs,
)

FEWEST_IMAGES = 2


@dataclass(frozen=True)
class Classifier:
    """A trained network and the labels of its outputs; no network where one class is the answer.

    Attributes:
        network: or None.
        known: labels of its outputs.
        epochs: passes that it was given time for.
        recipe_epochs: passes that the recipe would have made.
    """

    network: ClassifierNetwork | None
    known: tuple[int, ...]
    epochs: int = 0
    recipe_epochs: int = 0

    def describe(self) -> dict[str, int]:
        """Return the passes as JSON values: whether the clock cut the recipe short."""
        return {"epochs": self.epochs, "recipe_epochs": self.recipe_epochs}

    def predictor(self, task: Task) -> Predictor:
        """Return what it says of all of the task's classes."""
        if self.network is not None:
            return predictor_of(self.network, task.settings, self.known, len(task.classes))
        only, count = self.known, len(task.classes)
        return lambda images: _spread(np.ones((len(images), 1), np.float32), only, count)


def train_classifier(
    task: Task, data: Labelled, seconds: float, *, seed: int | None = None
) -> Classifier:
    """Train on the classes that `data` holds, for at most about `seconds`.

    A single class needs no training: it is the answer to every image.

    Args:
        task: recipe, classes and rate.
        data: training images.
        seconds: decides the number of passes.
        seed: of initial weights and order; None takes the task's.
    """
    held = np.unique(data.labels)
    known = tuple(int(label) for label in held)
    if len(known) == 1:
        return Classifier(None, known)
    settings = _settings(task, len(data.images), seconds, task.seed if seed is None else seed)
    with task.progress.task("classifier", 1) as shown:
        fitted = fit_classifier(
            data.images,
            np.searchsorted(held, data.labels),
            classes=tuple(task.classes[label] for label in known),
            settings=settings,
            on_progress=lambda now: shown.update(now.fraction, f"loss {now.loss:.4f}"),
        )
    recipe_epochs = task.settings.epochs_for(len(data.images))
    return Classifier(fitted.network, known, fitted.epochs, recipe_epochs)


def train_all_outputs(task: Task, data: Labelled, seconds: float, stream: int) -> ClassifierNetwork:
    """Train a classifier with an output for every class, also those that `data` lacks."""
    data = enough(data)
    settings = _settings(task, len(data.images), seconds, task.seed)
    with reproducible(settings.threads):
        network = build_network(settings, task.image_size, task.channels, len(task.classes))
        epochs = settings.epochs_for(len(data.images))
        train_epochs(
            network,
            data.images,
            data.labels,
            settings=settings,
            schedule=Schedule(settings, epochs * settings.steps_per_epoch(len(data.images))),
            epochs=range(epochs),
            stream=stream,
        )
    return network


def predictor_of(
    network: ClassifierNetwork,
    settings: ClassifierSettings,
    known: Sequence[int],
    count: int,
) -> Predictor:
    """Return what `network`, whose outputs are the labels `known`, says of `count` classes."""

    def predict(images: NDArray[np.uint8]) -> Probabilities:
        return _spread(predict_network(network, images, settings.threads), known, count)

    return predict


def product(predictors: Sequence[Predictor]) -> Predictor:
    """Multiply experts' probabilities and normalise: the geometric mean, as the reference does.

    A probability of 0 counts as 1e-7, so that one expert cannot veto a class that it never saw.
    """

    return lambda images: geometric_mean([expert(images) for expert in predictors])


def ensemble(predictors: Sequence[Predictor]) -> Predictor:
    """Average the probabilities of classifiers that saw the same images."""

    def predict(images: NDArray[np.uint8]) -> Probabilities:
        return _normalised(np.mean([member(images) for member in predictors], axis=0))

    return predict


def enough(data: Labelled) -> Labelled:
    """Repeat a lone image: normalisation by batch needs two."""
    if len(data.images) >= FEWEST_IMAGES:
        return data
    return data.take(np.resize(np.arange(len(data.images)), FEWEST_IMAGES))


def _settings(task: Task, images: int, seconds: float, seed: int) -> ClassifierSettings:
    epochs = within(task.settings, images, seconds, task.training_rate)
    return replace(task.settings, epochs=epochs, seed=seed)


def _spread(columns: Probabilities, known: Sequence[int], count: int) -> Probabilities:
    result = np.zeros((len(columns), count), dtype=np.float32)
    result[:, list(known)] = columns
    return result


def _normalised(values: NDArray[np.floating]) -> Probabilities:
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
