"""Reading a card's figures: by name, and each beside the bound that it is held to."""

from dataclasses import dataclass
from typing import Literal

from client_agent.audit.gate import verdict
from client_agent.audit.papers import paper_of
from client_agent.audit.thresholds import Bound, Thresholds
from ff_protocol.card import Card, Figure

Room = Literal["fidelity", "memorisation"]


@dataclass(frozen=True)
class JudgedFigure:
    """One figure of a card beside its bound.

    Attributes:
        name: of the figure; docs/card.md says what it measures.
        room: where it stands in the card.
        figure: the measured figure; None if the bounds demand it and it was not measured.
        bound: what it is held to; None: nothing is demanded of it.
        holds: whether it keeps the bound.
        paper: where the measure comes from.
    """

    name: str
    room: Room
    figure: Figure | None
    bound: Bound | None
    holds: bool
    paper: str


def figure_of(card: Card, name: str) -> Figure | None:
    """Return a figure of a card by name, whichever of its two lists it stands in."""
    return card.memorisation.get(name) or card.fidelity.get(name)


def judge(card: Card, bounds: Thresholds) -> tuple[JudgedFigure, ...]:
    """Return every figure of a card beside its bound, memorisation first.

    Args:
        card: of an own or a foreign module.
        bounds: those of this site.
    """
    measured = {**card.fidelity, **card.memorisation}
    failed = {failure.figure for failure in verdict(measured, bounds)}
    judged = [
        JudgedFigure(name, room, figure, bounds.root.get(name), name not in failed, paper_of(name))
        for room, figures in _rooms(card)
        for name, figure in figures.items()
    ]
    missing = sorted(failed - set(measured))
    absent = [
        JudgedFigure(name, "memorisation", None, bounds.root[name], False, paper_of(name))
        for name in missing
    ]
    return (*judged, *absent)


def _rooms(card: Card) -> tuple[tuple[Room, dict[str, Figure]], ...]:
    return ("memorisation", card.memorisation), ("fidelity", card.fidelity)
