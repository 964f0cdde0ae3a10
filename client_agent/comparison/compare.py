"""Comparing a module's samples with those of known modules: pure figures, and what they flag.

Three questions. Which class do the samples look like? Are they more alike to another class than to
their own? What would a classifier lose by them? All are answered by a linear discriminant on
`features`, never on points that it was fitted to. benchmarks/poison.py measures how often that
finds a module whose class was swapped, and how often it accuses an honest one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client_agent.comparison.discriminant import Discriminant, fit

MIN_SAMPLES = 16
"""Fewer samples than these of a module say nothing."""

Points = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Known:
    """Samples of a module whose class is known: points float32 [n, renderings, d]."""

    class_name: str
    module: str
    points: Points


@dataclass(frozen=True)
class Likeness:
    """The known module of a class (or of all other classes) that is most alike to the samples.

    Attributes:
        class_name, module: which.
        separability: AUROC of telling the two apart by a discriminant fitted to the other half of
            both; 0.5 is alike, 1 is wholly different.
    """

    class_name: str
    module: str
    separability: float


@dataclass(frozen=True)
class Validation:
    """What a quick classifier of the known modules gets right without and with the samples.

    Attributes:
        before, after: mean over the known classes of the share of held-out samples recognised.
        worst_class: the other class that loses most.
        worst_before, worst_after: the share of it recognised.
    """

    before: float
    after: float
    worst_class: str
    worst_before: float
    worst_after: float


@dataclass(frozen=True)
class Comparison:
    """A module's samples against what this site knows.

    Attributes:
        class_name: what the module claims.
        samples: how many were looked at.
        modules: how many known modules they were compared with.
        shares: known class to the share of samples that a quick classifier takes for it.
        own: the most alike module of the claimed class; None if there is none.
        other: the most alike module of any other class; None if there is none.
        apart: separability of `other` from the known class next to it, for scale; None if there is
            one known class only.
        validation: None where fewer than two classes are known.
    """

    class_name: str
    samples: int
    modules: int
    shares: dict[str, float]
    own: Likeness | None
    other: Likeness | None
    apart: float | None
    validation: Validation | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, the flags among them; figures have four digits."""
        flags = [asdict(flag) for flag in find_flags(self)]
        value: dict[str, Any] = _rounded({**asdict(self), "flags": flags})
        return value


@dataclass(frozen=True)
class Flag:
    """Why a module looks poisoned: a stable identifier and a line with the figures."""

    code: str
    text: str


CLOSER_BY, TAKEN_BY = 0.05, 0.20
"""By how much more alike to another class than to its own, and by how many more of its images taken
for that class, a module may be: beyond both it is suspicious."""
INDISTINGUISHABLE = 0.68
"""A module of a new class that is less separable than this from the only known one is a copy of it;
where several classes are known, less than a share of the way that lies between known classes:"""
LEAST_APART, SHARE_APART = 0.64, 0.50
UNLIKE = 0.99
"""A module more separable than this from every known module of its class is none of it."""
LOST_RECALL = 0.35
"""What another class may lose of its recall."""


def find_flags(comparison: Comparison) -> tuple[Flag, ...]:
    """Say what is suspicious about a comparison."""
    return tuple(
        flag
        for flag in (
            _resembles_another(comparison),
            _copies_another(comparison),
            _resembles_none(comparison),
            _harms_validation(comparison),
        )
        if flag is not None
    )


def _resembles_another(seen: Comparison) -> Flag | None:
    if seen.own is None or seen.other is None:
        return None
    share = seen.shares.get(seen.class_name, 0.0)
    name, most = _most_taken_for(seen)
    closer = seen.own.separability - seen.other.separability
    if closer <= CLOSER_BY or most - share <= TAKEN_BY:
        return None
    return Flag(
        "looks_like_another_class",
        f"{most:.0%} of its images look like {name}, {share:.0%} like {seen.class_name}; it is "
        f"told from {seen.other.class_name} with AUROC {seen.other.separability:.2f}, from other "
        f"modules of {seen.class_name} with {seen.own.separability:.2f}",
    )


def _copies_another(seen: Comparison) -> Flag | None:
    if seen.own is not None or seen.other is None:
        return None
    limit = INDISTINGUISHABLE
    if seen.apart is not None:
        limit = max(LEAST_APART, 0.5 + SHARE_APART * (seen.apart - 0.5))
    if seen.other.separability >= limit:
        return None
    return Flag(
        "copies_another_class",
        f"its images are told from those of {seen.other.class_name} with AUROC "
        f"{seen.other.separability:.2f} only (0.5 is alike)",
    )


def _resembles_none(seen: Comparison) -> Flag | None:
    if seen.own is None or seen.own.separability <= UNLIKE:
        return None
    return Flag(
        "unlike_its_class",
        f"its images are unlike those of every other module of {seen.class_name}: AUROC "
        f"{seen.own.separability:.2f} at best (0.5 is alike)",
    )


def _harms_validation(seen: Comparison) -> Flag | None:
    found = seen.validation
    if found is None or found.worst_before - found.worst_after <= LOST_RECALL:
        return None
    return Flag(
        "harms_validation",
        f"with it a quick classifier recognises {found.worst_after:.0%} of {found.worst_class}, "
        f"without it {found.worst_before:.0%}",
    )


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


def _most_taken_for(seen: Comparison) -> tuple[str, float]:
    """The other class that most samples are taken for, and their share."""
    others = [(share, name) for name, share in seen.shares.items() if name != seen.class_name]
    share, name = max(others)
    return name, share


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
