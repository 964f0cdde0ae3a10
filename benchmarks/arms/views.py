"""In how many views each image is judged, chosen on the validation images for every arm alike.

Whether an image's mirror image or its turns could be images of their own, only the images tell:
`ff-agent predict --views` leaves it to the data scientist, who can measure; so does the comparison.
"""

from dataclasses import replace

from benchmarks.arms.validating import loss, seen_for_choices
from benchmarks.recovery.task import Learnt, Predictor, Task
from client_agent.classifier.probabilities import geometric_mean
from client_agent.classifier.views import ONE, TURNED, VIEWS, views_of


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
    # The fewer views are the first of the more, so that each is judged once.
    judged = [predict(view) for view in views_of(seen.images, TURNED)]
    losses = {which: loss(geometric_mean(judged[:count]), seen) for which, count in VIEWS.items()}
    best = min(VIEWS, key=lambda which: (losses[which], VIEWS[which]))
    if best == ONE:
        return predict, best
    return lambda images: geometric_mean([predict(view) for view in views_of(images, best)]), best
