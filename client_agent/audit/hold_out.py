"""Which images of a class are kept aside: the yardstick of early stopping and of the audit.

A hold-out measures memorisation only if nothing of it was trained on. So a patient's images stay
together, and so do images of equal pixels, whoever's they are. On which side an image falls follows
from the seed and its own patient: after a withdrawal nearly all others stay where they were.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

MIN_HELD_OUT = 8
"""Distinct images held out; from fewer nothing can be said about images that were not seen."""

MIN_IMAGES_PER_CLASS = 16
"""Distinct images to train on: with fewer a generator can only replay, and a mean is a patient."""

# Up to 500 images a fifth is kept aside, from 1,000 on a tenth, in between 100 images.
_LARGEST_SHARE = 5
_SMALLEST_SHARE = 10
_ENOUGH = 100


@dataclass(frozen=True)
class HoldOut:
    """A class in two parts.

    Attributes:
        trained_on: indices, ascending.
        held_out: indices, ascending; none if the class cannot be parted.
        problem: why there is no hold-out, in words; None if there is one.
    """

    trained_on: tuple[int, ...]
    held_out: tuple[int, ...]
    problem: str | None


def hold_out(groups: Sequence[str], pixels: Sequence[str], seed: int) -> HoldOut:
    """Part the images of a class.

    About a fifth of a small class and a tenth of a large one are held out, `MIN_HELD_OUT` distinct
    images at the least; `MIN_IMAGES_PER_CLASS` always stay for training. Where both is not possible
    (fewer than 24 distinct images, or too few patients), all are trained on and nothing can be
    audited.

    Args:
        groups: a key of the patient for each image, "" where it is unknown.
        pixels: a digest of the prepared pixels for each image.
        seed: of the choice.
    """
    units = _units(groups, pixels)
    sizes = {unit: len({pixels[index] for index in unit}) for unit in units}
    distinct = sum(sizes.values())
    wanted = max(min(distinct // _LARGEST_SHARE, _ENOUGH), distinct // _SMALLEST_SHARE)
    wanted = max(wanted, MIN_HELD_OUT)
    # The last patient may overshoot what is wanted, but not take more than a fifth.
    room = min(max(distinct // _LARGEST_SHARE, MIN_HELD_OUT), distinct - MIN_IMAGES_PER_CLASS)
    held: set[int] = set()
    size = 0
    for unit in sorted(units, key=lambda unit: _rank(unit, groups, pixels, seed)):
        if size < wanted and size + sizes[unit] <= room:
            held.update(unit)
            size += sizes[unit]
    if size < MIN_HELD_OUT:
        return HoldOut(tuple(range(len(pixels))), (), _problem(distinct, len(units)))
    rest = tuple(index for index in range(len(pixels)) if index not in held)
    return HoldOut(rest, tuple(sorted(held)), None)


def _problem(distinct: int, units: int) -> str:
    least = MIN_IMAGES_PER_CLASS + MIN_HELD_OUT
    if distinct < least:
        return f"it has {distinct} distinct images, {least} are the least that can be audited"
    return f"its images come from {units} patients: none can be kept aside without too many others"


def _units(groups: Sequence[str], pixels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Indices that must stay together: connected by a patient or by equal pixels."""
    parent = list(range(len(pixels)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, (group, digest) in enumerate(zip(groups, pixels, strict=True)):
        for key in (("group", group), ("pixels", digest)):
            if key != ("group", ""):
                parent[root(index)] = root(first.setdefault(key, index))
    units: dict[int, list[int]] = {}
    for index in range(len(pixels)):
        units.setdefault(root(index), []).append(index)
    return tuple(tuple(unit) for unit in units.values())


def _rank(unit: Sequence[int], groups: Sequence[str], pixels: Sequence[str], seed: int) -> bytes:
    """Place of a unit in the seeded order; the same whatever other images there are."""
    keys = {groups[index] or pixels[index] for index in unit}
    return min(hashlib.sha256(f"{seed}\0{key}".encode()).digest() for key in keys)
