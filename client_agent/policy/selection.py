"""Which of the modules on offer take part: a decision on signed values, without any I/O.

Walk down the ranking of a class; take each module unless its site has as many as one may, until the
class has as many as it may. So, whatever is on offer besides:

- the order in which modules are listed does not matter;
- a module that ranks below all that are taken changes nothing, and neither does its going;
- a module that is taken displaces one other at most, and brings in none;
- what is taken when a module is revoked is what would have been taken had it never been there.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ff_protocol.card import Card, bucket_floor
from ff_protocol.selection import MORE_IMAGES, NEWER, TRUSTED, FigureOrder, Selection, figure_order


@dataclass(frozen=True)
class Candidate:
    """A module on offer that breaks no rule that can be checked without fetching it.

    Attributes:
        published_at: as its publisher dated it.
        card: its card, whose hash its publisher signed.
    """

    module: str
    site_id: str
    class_name: str
    published_at: str
    card: Card


def select(
    candidates: Iterable[Candidate], rule: Selection, trusted: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Return the digests of the modules that take part.

    Args:
        candidates: each module once.
        rule: how many, and by what they are ranked.
        trusted: sites that this site trusts, for a rule that asks for it.
    """
    taken: set[str] = set()
    of_class: Counter[str] = Counter()
    of_site: Counter[tuple[str, str]] = Counter()
    for item in ranked(candidates, rule, trusted):
        site = item.class_name, item.site_id
        if of_class[item.class_name] < rule.most_per_class and of_site[site] < rule.most_per_site:
            taken.add(item.module)
            of_class[item.class_name] += 1
            of_site[site] += 1
    return frozenset(taken)


def ranked(
    candidates: Iterable[Candidate], rule: Selection, trusted: frozenset[str] = frozenset()
) -> list[Candidate]:
    """Return the candidates, the best first; equal ones by digest."""
    best_first = sorted(candidates, key=lambda item: item.module)
    # Sorting is stable: the criterion that decides first is sorted by last.
    for criterion in reversed(rule.order):
        best_first.sort(key=lambda item: _worth(item, criterion, trusted), reverse=True)
    return best_first


def _worth(item: Candidate, criterion: str, trusted: frozenset[str]) -> Any:
    """Return what is larger for the better candidate by one criterion."""
    order = figure_order(criterion)
    if order is not None:
        return _figure_worth(item.card, order)
    return {
        TRUSTED: item.site_id in trusted,
        NEWER: item.published_at,
        MORE_IMAGES: bucket_floor(item.card.training.images),
    }[criterion]


def _figure_worth(card: Card, order: FigureOrder) -> tuple[bool, float]:
    """Judge by the unfavourable end of the interval: few images make no module look good.

    A figure that the card does not state ranks behind all that do.
    """
    figure = card.fidelity.get(order.figure) or card.memorisation.get(order.figure)
    if figure is None:
        return False, 0.0
    if order.better == "higher":
        return True, figure.value if figure.low is None else figure.low
    return True, -(figure.value if figure.high is None else figure.high)
