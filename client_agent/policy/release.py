"""What an own module must fulfil before it may leave this site."""

from dataclasses import dataclass

from client_agent.audit.gate import verdict
from client_agent.audit.thresholds import Thresholds, default_thresholds
from ff_protocol.card import Card, bucket_floor
from ff_protocol.schema import Strict

NOT_AUDITED = "audit"
"""Stands in a waiver's list of figures for the audit that was not or could not be made."""


_MARGIN = 0.05


class ReleasePolicy(Strict):
    """Section `release` of `policy.yaml`.

    Attributes:
        require_audit: a module without memorisation figures may not leave.
        thresholds: bounds in place of the defaults, by figure; null lifts one. The defaults depend
            on the size of the class.
    """

    require_audit: bool = True
    thresholds: Thresholds = Thresholds({})

    def bounds(self, card: Card) -> Thresholds:
        """Return the bounds that the figures of this card are held to."""
        return self._bounds(bucket_floor(card.training.images))

    def most_membership(self, images: int) -> float | None:
        """Return where training of so many images should end, None if membership is not bounded.

        A little below the audit's bound, since training looks at fewer images than the audit does.
        """
        bound = self._bounds(images).root.get("membership_auc")
        if bound is None or bound.max is None:
            return None
        return bound.max - _MARGIN

    def _bounds(self, images: int) -> Thresholds:
        return self.thresholds.over(default_thresholds(images))


@dataclass(frozen=True)
class Objection:
    """One reason against a release.

    Attributes:
        figure: name of the figure that fails, or `NOT_AUDITED`.
        text: one line: figure, value, bound.
        waived: the card's waiver covers it.
    """

    figure: str
    text: str
    waived: bool


def objections(card: Card, policy: ReleasePolicy) -> tuple[Objection, ...]:
    """Return what stands against the release of a module, waived or not; none: it may leave.

    A waiver covers the figures that it names and no others: bounds that were tightened after it, or
    a figure that fails anew, need another one.

    Args:
        card: of the module.
        policy: of the site.
    """
    covered = card.waiver.figures if card.waiver is not None else ()
    if not card.memorisation:
        if not policy.require_audit:
            return ()
        text = "what it gives away about its training images was not measured"
        return (Objection(NOT_AUDITED, text, NOT_AUDITED in covered),)
    failures = verdict({**card.fidelity, **card.memorisation}, policy.bounds(card))
    return tuple(
        Objection(failure.figure, str(failure), failure.figure in covered) for failure in failures
    )
