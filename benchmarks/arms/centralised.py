"""The upper bound: all images in one place, which no hospital may do."""

import numpy as np

from benchmarks.arms.classifiers import ensemble, train_classifier
from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Learnt, Task


def centralised(task: Task, *, members: int) -> Learnt:
    """Train `members` classifiers, alike but for their seed, and average their probabilities."""
    pooled = Labelled(
        np.concatenate([site.images for site in task.sites]),
        np.concatenate([site.labels for site in task.sites]),
    )
    seconds = task.seconds / members
    trained = [
        train_classifier(task, pooled, seconds, seed=task.seed + 1000 * member)
        for member in range(members)
    ]
    predictors = [classifier.predictor(task) for classifier in trained]
    common = ensemble(predictors) if members > 1 else predictors[0]
    return Learnt((common,), details=trained[0].describe())
