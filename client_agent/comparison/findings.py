"""What a comparison with known modules found, and what of it is suspicious: pure rules.

benchmarks/poison.py measures how often they find a module whose class was swapped, and how often
they accuse an honest one.
"""

from dataclasses import asdict, dataclass
from typing import Any


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
