"""Comparing a module's samples with those of known modules: the figures.

Three questions. Which class do the samples look like? Are they more alike to another class than to
their own? What would a classifier lose by them? All are answered by a linear discriminant on
`features`, never on points that it was fitted to. `findings` says which answers are suspicious.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client_agent.comparison.discriminant import Discriminant, fit
from client_agent.comparison.findings import Comparison, Likeness, Validation

MIN_SAMPLES = 16
"""Fewer samples than these of a module say nothing."""

Points = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Known:
    """Samples of a module whose class is known: points float32 [n, renderings, d]."""

    class_name: str
    module: str
    points: Points


def compare(class_name: str, points: Points, known: Sequence[Known]) -> Comparison:
    """Compare a module's samples with those of known modules.

    Args:
        class_name: the class that the module claims.
        points: `features` of its samples, float32 [n, renderings, d].
        known: other modules; those with fewer than MIN_SAMPLES are left out.
    """
    known = [item for item in known if len(item.points) >= MIN_SAMPLES]
    own = _most_alike(points, [item for item in known if item.class_name == class_name])
    others = [item for item in known if item.class_name != class_name]
    other = _most_alike(points, others)
    classes = list(dict.fromkeys(item.class_name for item in known))
    return Comparison(
        class_name=class_name,
        samples=len(points),
        modules=len(known),
        shares=_shares(points, known, classes),
        own=own,
        other=other,
        apart=_apart(other, known),
        validation=_validate(class_name, points, known, classes),
    )


def _most_alike(points: Points, known: Sequence[Known]) -> Likeness | None:
    found = [
        Likeness(item.class_name, item.module, separability(points, item.points)) for item in known
    ]
    return min(found, key=lambda item: item.separability, default=None)


def _apart(other: Likeness | None, known: Sequence[Known]) -> float | None:
    if other is None:
        return None
    (points,) = (item.points for item in known if item.module == other.module)
    rest = [item for item in known if item.class_name != other.class_name]
    nearest = _most_alike(points, rest)
    return None if nearest is None else nearest.separability


def separability(first: Points, second: Points) -> float:
    """AUROC of telling two sets of points apart, each half judged by a fit to the other half."""
    if min(len(first), len(second)) < MIN_SAMPLES:
        return 1.0
    total = 0.0
    for fold in (0, 1):
        found = fit([_half(first, fold), _half(second, fold)])
        scores = [_difference(found, _half(part, 1 - fold)) for part in (first, second)]
        total += _auroc(*scores)
    return total / 2


def _difference(found: Discriminant, points: Points) -> NDArray[np.float64]:
    scored = found.scores(points)
    difference: NDArray[np.float64] = scored[:, 1] - scored[:, 0]
    return difference


def _auroc(lower: NDArray[np.float64], higher: NDArray[np.float64]) -> float:
    more = (higher[:, None] > lower[None, :]).mean()
    equal = (higher[:, None] == lower[None, :]).mean()
    return float(more + equal / 2)


def _half(points: Points, fold: int) -> Points:
    return points[fold::2]


def _shares(points: Points, known: Sequence[Known], classes: list[str]) -> dict[str, float]:
    if len(classes) < 2:
        return {}
    chosen = fit(_groups(known, classes)).scores(points).argmax(axis=1)
    return {name: float((chosen == index).mean()) for index, name in enumerate(classes)}


def _groups(known: Sequence[Known], classes: list[str], fold: int | None = None) -> list[Points]:
    return [
        np.concatenate(
            [
                item.points if fold is None else _half(item.points, fold)
                for item in known
                if item.class_name == name
            ]
        )
        for name in classes
    ]


def _validate(
    class_name: str, points: Points, known: Sequence[Known], classes: list[str]
) -> Validation | None:
    others = [name for name in classes if name != class_name]
    if len(classes) < 2:
        return None
    before, after = dict.fromkeys(classes, 0.0), dict.fromkeys(classes, 0.0)
    for fold in (0, 1):
        fitted, held_out = _groups(known, classes, fold), _groups(known, classes, 1 - fold)
        _add_recalls(before, classes, fit(fitted), held_out)
        if class_name in classes:
            index = classes.index(class_name)
            with_it = [*fitted]
            with_it[index] = np.concatenate([fitted[index], points])
        else:
            with_it = [*fitted, points]
        _add_recalls(after, classes, fit(with_it), held_out)
    worst = max(others, key=lambda name: before[name] - after[name])
    return Validation(
        before=float(np.mean([before[name] for name in classes])),
        after=float(np.mean([after[name] for name in classes])),
        worst_class=worst,
        worst_before=before[worst],
        worst_after=after[worst],
    )


def _add_recalls(
    recalls: dict[str, float], classes: list[str], found: Discriminant, held_out: list[Points]
) -> None:
    """Add half of each class's recall in this fold."""
    for index, name in enumerate(classes):
        chosen = found.scores(held_out[index]).argmax(axis=1)
        recalls[name] += float((chosen == index).mean()) / 2
