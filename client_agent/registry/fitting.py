"""Whether a module fits the federation spec in force: decisions on values, without any I/O.

A spec changes by revisions. A module is what it was when it was signed, so an old one either still
fits, unchanged and under the same digest, or is refused with the revision since which it does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ff_protocol.card import Card
from ff_protocol.revisions import FIRST, SpecRevision
from ff_protocol.spec import FederationSpec, ImageSpec
from ff_protocol.spec_changes import image_text


@dataclass(frozen=True)
class Misfit:
    """Why a module cannot be used: the refusal's code, and a line for people."""

    code: str
    text: str


def class_misfit(name: str, revisions: Sequence[SpecRevision]) -> Misfit | None:
    """Say why a class has no place in the federation.

    Args:
        name: of the class.
        revisions: of the spec, the one in force last, as far back as they are known.
    """
    if name in revisions[-1].spec.classes:
        return None
    if any(name in item.spec.classes for item in revisions):
        gone = _since(revisions, lambda spec: name not in spec.classes)
        return Misfit("class_left", f"class {name!r} has left the federation ({gone})")
    return Misfit("unknown_class", f"class {name!r} is not in the federation spec")


def image_misfit(image: ImageSpec, revisions: Sequence[SpecRevision]) -> Misfit | None:
    """Say why images of a shape cannot be used."""
    wanted = revisions[-1].spec.image
    if image == wanted:
        return None
    since = _since(revisions, lambda spec: spec.image == wanted)
    return Misfit(
        "image_shape",
        f"made for images of {image_text(image)}; the federation is at {image_text(wanted)} "
        f"({since})",
    )


def misfit(card: Card, revisions: Sequence[SpecRevision]) -> Misfit | None:
    """Say why a module cannot be used under the spec in force, None if it can."""
    return class_misfit(card.class_name, revisions) or image_misfit(card.image, revisions)


def class_indices(name: str, revisions: Sequence[SpecRevision]) -> set[int]:
    """Return every index that a class has had: a card states that of its own time."""
    specs = [item.spec for item in revisions]
    return {spec.classes.index(name) for spec in specs if name in spec.classes}


def _since(revisions: Sequence[SpecRevision], holds: Callable[[FederationSpec], bool]) -> str:
    """Return since when something holds that holds in the last revision."""
    first = revisions[-1].number
    for item in reversed(revisions):
        if not holds(item.spec):
            break
        first = item.number
    known_from_start = first > revisions[0].number or first == FIRST
    return f"since revision {first}" if known_from_start else f"at revision {first} at the latest"
