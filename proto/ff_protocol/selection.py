"""Which of many modules take part: the rule as it is written down, in the spec or in a policy.

A federation of ten thousand sites has more modules of a class than anyone wants to sample. The rule
names how many, and by what they are ranked. It is applied in client_agent/policy/selection.py.
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from ff_protocol.schema import Strict

TRUSTED, NEWER, MORE_IMAGES = "trusted", "newer", "more images"
_FIGURE = re.compile(r"(higher|lower) ([a-z][a-z0-9_]{0,63})", re.ASCII)


@dataclass(frozen=True)
class FigureOrder:
    """Rank by a figure of the card: the `higher` or the `lower`, the better."""

    better: Literal["higher", "lower"]
    figure: str


class Selection(Strict):
    """Section `selection` of the federation spec or of a site's policy.

    Attributes:
        most_per_class: modules of one class that take part.
        most_per_site: of these, modules of one site.
        order: what ranks them, the first difference decides: `trusted` (sites that this site
            trusts; in a policy only), `higher FIGURE` or `lower FIGURE` of the signed card, `more
            images` (bucket of the training set), `newer` (as dated by its publisher). What is equal
            in all of these is ranked by digest.
    """

    most_per_class: int = Field(ge=1, le=1000)
    most_per_site: int = Field(default=1, ge=1, le=256)
    order: tuple[str, ...] = Field(
        default=("higher coverage", "lower kid", MORE_IMAGES, NEWER), max_length=16
    )

    @field_validator("order")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if item not in (TRUSTED, NEWER, MORE_IMAGES) and not _FIGURE.fullmatch(item):
                raise ValueError(
                    f"{item[:80]!r} ranks nothing: {TRUSTED}, {NEWER}, {MORE_IMAGES}, "
                    "higher FIGURE or lower FIGURE are known"
                )
        return value


class SharedSelection(Selection):
    """The rule of a whole federation: it cannot rest on what one site alone thinks."""

    @field_validator("order")
    @classmethod
    def _shared(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if TRUSTED in value:
            raise ValueError("whom a site trusts differs from site to site: put it in policy.yaml")
        return value


def figure_order(item: str) -> FigureOrder | None:
    """Parse one entry of `Selection.order`; None if it is not about a figure."""
    found = _FIGURE.fullmatch(item)
    if found is None:
        return None
    return FigureOrder("higher" if found[1] == "higher" else "lower", found[2])
