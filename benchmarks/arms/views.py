"""In how many views each image is judged, chosen on the validation images for every arm alike.

Whether an image's mirror image or its turns could be images of their own, only the images tell:
`ff-agent predict --views` leaves it to the data scientist, who can measure; so does the comparison.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.arms.validating import loss, seen_for_choices
from benchmarks.recovery.task import Learnt, Predictor, Probabilities, Task
from client_agent.classifier.probabilities import geometric_mean
from client_agent.classifier.views import ONE, VIEWS, views_of


def with_views(learnt: Learnt, task: Task) -> Learnt:
    """Return `learnt` with the best views for each of its predictors, unless it says its own."""
    if "views" in learnt.details:
        return learnt
    chosen = [choose_views(predict, task) for predict in learnt.predictors]
    return replace(
        learnt,
        predictors=tuple(predict for predict, _ in chosen),
        details={**learnt.details, "views": [which for _, which in chosen]},
    )


def choose_views(predict: Predictor, task: Task) -> tuple[Predictor, str]:
    """Return `predict` over the views with the lowest mean -ln p on validation images, and which.

    Of equals the fewest views win.
    """
    seen = seen_for_choices(task)
    losses = {which: loss(_over(predict, which)(seen.images), seen) for which in VIEWS}
    best = min(VIEWS, key=lambda which: (losses[which], VIEWS[which]))
    return (predict if best == ONE else _over(predict, best)), best


def _over(predict: Predictor, which: str) -> Predictor:
    def judge(images: NDArray[np.uint8]) -> Probabilities:
        return geometric_mean([predict(view) for view in views_of(images, which)])

    return judge
