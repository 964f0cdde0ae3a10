"""How well probabilities fit the validation images: what choices after training go by."""

import numpy as np

from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Probabilities, Task
from client_agent.classifier.probabilities import SMALLEST_PROBABILITY

MOST_IMAGES = 512
"""Of the validation images, evenly spaced: asking the modules of each takes its time."""


def seen_for_choices(task: Task) -> Labelled:
    """Return at most MOST_IMAGES of the task's validation images."""
    every = -(-len(task.validation.labels) // MOST_IMAGES)
    return task.validation.take(np.arange(0, len(task.validation.labels), max(every, 1)))


def loss(probabilities: Probabilities, seen: Labelled) -> float:
    """Return the mean -ln p of the true classes; 0 without images."""
    own = probabilities[np.arange(len(seen.labels)), seen.labels]
    return float(-np.log(np.maximum(own, SMALLEST_PROBABILITY)).sum() / max(len(own), 1))
