"""How a module's audit figures stand to this site's bounds: a traffic light each. Rules only.

green   the bound is kept, and the whole interval keeps it
amber   the estimate or a part of its interval lies beyond the bound, not all of it
red     release refuses: by default, when the whole interval lies beyond the bound
grey    not measured, or nothing is demanded of it
"""

from collections.abc import Mapping

from client_agent.audit.gate import beyond
from client_agent.audit.thresholds import Bound
from client_agent.report.content import FigureRow, Light, worst
from ff_protocol.card import Card, Figure

EXPLANATIONS: dict[str, str] = {
    "membership_auc": "How well someone who has the module tells images that it was trained on "
    "from others of the same class: 0.5 is guessing, 1 is certainty.",
    "tpr_at_1_fpr": "Share of the training images that such an attacker names while wrongly naming "
    "one other image in a hundred; 0.01 is guessing.",
    "denoising_loss": "The same by another attack, on the network's denoising error.",
    "mid_frequency": "The same by another attack, on the network's error in mid frequencies.",
    "replayed": "Share of the training images that samples come nearer to than chance allows.",
    "distinct_samples": "Share of the samples that differ from one another.",
    "distinct_excess": "0: samples repeat themselves like copies of the training images; 1: all "
    "samples differ.",
    "dcr_share": "Share of samples nearer to a training image than real images are to each other. "
    "A smoke detector, no proof.",
    "ratio": "How near samples come to training images against unseen ones: 1 if neither side is "
    "favoured. A smoke detector, no proof.",
    "nearer": "Share of samples nearer to training images than to unseen ones; 0.5 if neither side "
    "is favoured. A smoke detector, no proof.",
    "fid": "Distance between synthetic and real images as a whole; smaller is better.",
    "kid": "Distance between synthetic and real images as a whole; smaller is better.",
    "kid_real": "The same between two halves of the real images: the best that can be had.",
    "precision": "Share of the samples that look like real images.",
    "density": "How densely the samples lie among real images.",
    "recall": "Share of the real images that samples come near to: variety.",
    "coverage": "Share of the real images with a sample nearby: variety.",
}
"""What a figure means in plain words, by its name or a part of it."""


def explain(name: str) -> str:
    """Return what a figure means, "" if this page does not know it."""
    found = [key for key in EXPLANATIONS if key in name]
    return EXPLANATIONS[max(found, key=len)] if found else ""


def judge(figure: Figure | None, bound: Bound | None) -> Light:
    """Return one figure's light."""
    if bound is None or figure is None:
        return "red" if bound is not None and bound.required else "grey"
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    if bound.max is not None:
        inside = max(high, figure.value) <= bound.max
    else:
        inside = min(low, figure.value) >= (float("-inf") if bound.min is None else bound.min)
    return "red" if beyond(figure, bound) else "green" if inside else "amber"


def rows(card: Card, bounds: Mapping[str, Bound | None]) -> tuple[FigureRow, ...]:
    """Return a card's figures beside their bounds: those with a bound first, memorisation first.

    Figures that a bound demands and the card lacks are included.
    """
    measured = [
        *(("memorisation", name, figure) for name, figure in card.memorisation.items()),
        *(("fidelity", name, figure) for name, figure in card.fidelity.items()),
    ]
    names = {name for _, name, _ in measured}
    found = [_row(room, name, figure, bounds.get(name)) for room, name, figure in measured]
    found += [
        _row("memorisation", name, None, bound)
        for name, bound in bounds.items()
        if bound is not None and bound.required and name not in names
    ]
    return tuple(sorted(found, key=lambda row: not row.bound))


def overall(figures: tuple[FigureRow, ...]) -> Light:
    """Return a module's light: the worst of the figures that a bound is set for."""
    return worst(tuple(row.light for row in figures if row.bound))


def _row(room: str, name: str, figure: Figure | None, bound: Bound | None) -> FigureRow:
    return FigureRow(
        name=name,
        room=room,
        value=None if figure is None else figure.value,
        low=None if figure is None else figure.low,
        high=None if figure is None else figure.high,
        samples="" if figure is None else figure.samples,
        bound="" if bound is None else str(bound),
        light=judge(figure, bound),
    )
