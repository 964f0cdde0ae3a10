"""Whether a classifier of class-balanced samples answers for even or for training's prevalence.

A classifier that saw the training images themselves learnt from them how common each class is.
Generators give as many samples of each as one likes; the cards say, in buckets, how many images
they were trained on, and `ff-agent predict --prevalence training` weighs the answers by that. Which
is better differs: a generator of few images draws narrow samples, for which its class is found too
seldom already. It is chosen on the validation images, as the averaging arms choose their round.
"""

from collections.abc import Iterable

import numpy as np

from benchmarks.arms.classifiers import SMALLEST_PROBABILITY
from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Predictor, Probabilities, Task
from client_agent.classifier.prevalence import EVEN, TRAINING, reweight, shares_in_training

MOST_IMAGES = 512
"""Of the validation images, evenly spaced: asking the modules of each takes its time."""


def choose_prevalence(
    predict: Predictor, task: Task, held: Iterable[tuple[int, str]]
) -> tuple[Predictor, str]:
    """Return `predict`, weighed if that lowers the mean -ln p of the validation images, and which.

    Args:
        predict: of a classifier trained on as many images of every class.
        task: for its classes and validation images.
        held: of each generator, its label and the bucket of its images.
    """
    names = [str(label) for label in range(len(task.classes))]
    shares = shares_in_training([(str(label), images) for label, images in held], names)
    every = -(-len(task.validation.labels) // MOST_IMAGES)
    seen = task.validation.take(np.arange(0, len(task.validation.labels), max(every, 1)))
    even = predict(seen.images)
    if _loss(reweight(even, shares), seen) < _loss(even, seen):
        return lambda images: reweight(predict(images), shares), TRAINING
    return predict, EVEN


def _loss(probabilities: Probabilities, seen: Labelled) -> float:
    """Mean -ln p of the true classes; 0 without images."""
    own = probabilities[np.arange(len(seen.labels)), seen.labels]
    return float(-np.log(np.maximum(own, SMALLEST_PROBABILITY)).sum() / max(len(own), 1))
