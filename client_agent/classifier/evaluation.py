"""Figures of a classifier on labelled images, with a stated rule wherever a class is missing.

Two kinds of absence occur. A class that the *classifier* does not know (its last module was
revoked, or the site never had it): every image of it counts as an error, and its score is 0 for
every image, which is an AUROC of 0.5. A class of which the *test set* has no image: nothing can be
said of it; its recall and AUROC are None, and macro averages run over the classes that are there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Figures on one test set. All shares are in [0, 1].

    Attributes:
        images: size of the test set.
        classes: all classes of the federation.
        unknown: those that the classifier does not know.
        untested: those of which the test set has no image.
        accuracy: share of images labelled rightly; images of unknown classes count as wrong.
        macro_auroc: mean over the tested classes of the area under the one-vs-rest ROC curve;
            None if the test set has a single class.
        macro_f1: mean over the tested classes of F1; a class never predicted has F1 0.
        recall: for each class the share of its images labelled as such; None if untested.
        auroc: for each class its one-vs-rest area; None if untested or alone.
        confusion: [true][predicted] counts in the order of `classes`.
    """

    images: int
    classes: tuple[str, ...]
    unknown: tuple[str, ...]
    untested: tuple[str, ...]
    accuracy: float
    macro_auroc: float | None
    macro_f1: float
    recall: dict[str, float | None]
    auroc: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self)
        for name in ("classes", "unknown", "untested"):
            plain[name] = list(plain[name])
        plain["confusion"] = [list(row) for row in self.confusion]
        return plain


def evaluate_probabilities(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: tuple[str, ...],
    known: tuple[str, ...] | None = None,
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: float [n, k], one column a known class; the largest is the prediction.
        labels: int64 [n], indices into `classes`.
        classes: all classes of the federation.
        known: the classifier's classes in the order of the columns, a subset of `classes`; None
            for all of them.

    Raises:
        DataError: no images, or the parts do not fit together.
    """
    known = classes if known is None else tuple(known)
    _check(probabilities, labels, classes, known)
    columns = np.array([classes.index(name) for name in known])
    scores = np.zeros((len(labels), len(classes)), dtype=np.float64)
    scores[:, columns] = probabilities
    predicted = columns[np.argmax(probabilities, axis=1)]

    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    tested = confusion.sum(axis=1)
    present = np.flatnonzero(tested)
    area = [_auroc(labels == index, scores[:, index]) for index in range(len(classes))]
    areas = [value for value in area if value is not None]
    return Evaluation(
        images=len(labels),
        classes=tuple(classes),
        unknown=tuple(name for name in classes if name not in known),
        untested=tuple(name for name, n in zip(classes, tested, strict=True) if n == 0),
        accuracy=float(np.mean(predicted == labels)),
        macro_auroc=float(np.mean(areas)) if areas else None,
        macro_f1=_macro_f1(labels, predicted, present),
        recall={
            name: float(confusion[index, index] / tested[index]) if tested[index] else None
            for index, name in enumerate(classes)
        },
        auroc=dict(zip(classes, area, strict=True)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def average(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the mean over several classifiers measured on one test set.

    Every share is the arithmetic mean, `confusion` the sum, `unknown` what none of them knows.

    Raises:
        DataError: there is nothing to average, or the test sets differ.
    """
    if not evaluations:
        raise DataError("there is no evaluation to average")
    first = evaluations[0]
    if any(
        (other.images, other.classes, other.untested)
        != (first.images, first.classes, first.untested)
        for other in evaluations
    ):
        raise DataError("evaluations on different test sets cannot be averaged")
    return Evaluation(
        images=first.images,
        classes=first.classes,
        unknown=tuple(
            name for name in first.classes if all(name in other.unknown for other in evaluations)
        ),
        untested=first.untested,
        accuracy=float(np.mean([other.accuracy for other in evaluations])),
        macro_auroc=_mean([other.macro_auroc for other in evaluations]),
        macro_f1=float(np.mean([other.macro_f1 for other in evaluations])),
        recall={
            name: _mean([other.recall[name] for other in evaluations]) for name in first.classes
        },
        auroc={name: _mean([other.auroc[name] for other in evaluations]) for name in first.classes},
        confusion=tuple(
            tuple(int(count) for count in row)
            for row in np.sum([other.confusion for other in evaluations], axis=0)
        ),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean, or None if any is None: on one test set a figure exists for all or for none."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if len(present) == len(values) else None


def _auroc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float | None:
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def _macro_f1(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], present: NDArray[np.int64]
) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0))


def _check(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    known: tuple[str, ...],
) -> None:
    if not len(labels):
        raise DataError("there is no labelled image to evaluate on")
    if probabilities.shape != (len(labels), len(known)) or not known:
        raise DataError(
            f"probabilities {list(probabilities.shape)} do not fit {len(labels)} images and "
            f"{len(known)} classes"
        )
    foreign = [name for name in known if name not in classes]
    if foreign:
        raise DataError(f"the classifier's class {foreign[0]!r} is not among the classes given")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"labels run from {labels.min()} to {labels.max()}, outside the classes")
    if not np.isfinite(probabilities).all():
        raise DataError("the classifier's probabilities are not all finite")
