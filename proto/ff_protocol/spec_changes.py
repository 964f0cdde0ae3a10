"""What may change from one revision of the federation spec to the next, and what it means.

A change is additive if every module that could be used before can be used after it and gives the
same images: a class more, a limit raised. Every other change makes somebody do something: train or
synthesise again, compute longer, or do without. A module is never converted: it is what was signed.
No I/O here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ff_protocol.errors import SpecError
from ff_protocol.selection import SharedSelection
from ff_protocol.spec import FederationSpec, ImageSpec

_LIMITS = ("max_module_bytes", "max_parameters", "max_sampler_steps")


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        text: in words.
        additive: whether a site may take it without asking its admin.
    """

    text: str
    additive: bool


def changes(old: FederationSpec, new: FederationSpec) -> tuple[Change, ...]:
    """Return every difference between two specs, what weighs most first."""
    found = [*_values(old, new), *_classes(old, new), *_limits(old, new)]
    return tuple(sorted(found, key=lambda change: change.additive))


def check_change(earlier: Iterable[FederationSpec], new: FederationSpec) -> None:
    """Make sure that a spec may follow others.

    Classes keep their order, so that modules and classifiers mean the same by an index; new ones
    come last. The name of a class that has left does not come back: modules of before would count
    as the new class's. The size that modules may have does not shrink: what was published stays
    readable (a site's own policy may be tighter).

    Args:
        earlier: the revisions before, the newest last; at least one.
        new: what is to follow.

    Raises:
        SpecError: it may not.
    """
    *_, old = (specs := tuple(earlier))
    stay = [name for name in old.classes if name in new.classes]
    if list(new.classes[: len(stay)]) != stay:
        raise SpecError(
            "classes: those that stay must keep their order and come first",
            hint=f"begin with {', '.join(stay)}",
        )
    ever = {name.casefold() for spec in specs for name in spec.classes}
    for name in new.classes[len(stay) :]:
        if name.casefold() in ever:
            raise SpecError(
                f"classes: {name!r} was in the federation before",
                hint="give the class another name: modules of the earlier one may still be about",
            )
    if new.policy.max_module_bytes < old.policy.max_module_bytes:
        raise SpecError(
            f"policy.max_module_bytes: {new.policy.max_module_bytes} is less than "
            f"{old.policy.max_module_bytes}, and larger modules may have been published",
            hint="keep it; a site may set tighter limits in its policy.yaml",
        )


def image_text(image: ImageSpec) -> str:
    """Return an image shape in words: `28 x 28, grey`."""
    return f"{image.size} x {image.size}, {'grey' if image.channels == 1 else 'colour'}"


def _classes(old: FederationSpec, new: FederationSpec) -> Iterator[Change]:
    gone = [name for name in old.classes if name not in new.classes]
    more = [name for name in new.classes if name not in old.classes]
    if gone:
        yield Change(f"classes leave the federation: {', '.join(gone)}", additive=False)
    if more:
        yield Change(f"new classes: {', '.join(more)}", additive=True)


def _values(old: FederationSpec, new: FederationSpec) -> Iterator[Change]:
    if old.image != new.image:
        text = f"images: {image_text(old.image)} -> {image_text(new.image)}"
        yield Change(f"{text}; modules made for the old shape cannot be used", additive=False)
    if old.preset != new.preset:
        yield Change(f"generator preset: {old.preset} -> {new.preset}", additive=False)
    for section in ("preparation", "synthesis", "classifier"):
        before, after = getattr(old, section).model_dump(), getattr(new, section).model_dump()
        for key in before:
            if before[key] != after[key]:
                text = f"{section}.{key}: {before[key]} -> {after[key]}"
                yield Change(text, additive=False)
    if old.selection != new.selection:
        text = f"selection: {_rule_text(old.selection)} -> {_rule_text(new.selection)}"
        yield Change(f"{text}; other modules may take part", additive=False)


def _rule_text(rule: SharedSelection | None) -> str:
    if rule is None:
        return "all modules"
    return f"{rule.most_per_class} a class by {', '.join(rule.order)}"


def _limits(old: FederationSpec, new: FederationSpec) -> Iterator[Change]:
    before, after = old.policy.model_dump(), new.policy.model_dump()
    for key in before:
        if before[key] != after[key]:
            larger = key in _LIMITS and after[key] > before[key]
            yield Change(f"policy.{key}: {before[key]} -> {after[key]}", additive=larger)
