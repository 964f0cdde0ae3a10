"""Whether a classifier of class-balanced samples answers for even or for training's prevalence.

A classifier that saw the training images themselves learnt from them how common each class is.
Generators give as many samples of each as one likes; the cards say, in buckets, how many images
they were trained on, and `ff-agent predict --prevalence training` weighs the answers by that. Which
is better differs: a generator of few images draws narrow samples, for which its class is found too
seldom already. It is chosen on the validation images, as the averaging arms choose their round.
"""

from collections.abc import Iterable

from benchmarks.arms.validating import loss, seen_for_choices
from benchmarks.recovery.task import Predictor, Task
from client_agent.classifier.prevalence import EVEN, TRAINING, reweight, shares_in_training


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
    seen = seen_for_choices(task)
    even = predict(seen.images)
    if loss(reweight(even, shares), seen) < loss(even, seen):
        return lambda images: reweight(predict(images), shares), TRAINING
    return predict, EVEN
