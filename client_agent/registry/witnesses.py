"""Whose heads to ask for: every site's in a small federation, some in a large one.

Heads of all sites at every site grow with the square of the federation. What is needed is fresh
word of the sites whose modules are in use, and of enough others that a coordinator that keeps
something from this site cannot know whom it must silence: the site draws them anew each time.
"""

import random
from collections.abc import Iterable

from ff_protocol.limits import MAX_HEADS_ASKED

ALL_UP_TO = 64
"""Sites of which all heads are asked for."""

DRAWN = 32
"""Sites drawn besides those in use."""


def choose_witnesses(
    sites: Iterable[str], in_use: Iterable[str], own: str, draw: random.Random
) -> tuple[str, ...] | None:
    """Return the sites whose heads to ask for, in order of name; None: of all.

    Args:
        sites: that have published anything, as known here.
        in_use: whose modules are in use here.
        own: this site: what it signed last may have got lost here.
        draw: not to be foreseen by the coordinator.
    """
    known = sorted({*sites, own})
    if len(known) <= ALL_UP_TO:
        return None
    asked = {own, *in_use}
    others = sorted(set(known) - asked)
    asked |= set(draw.sample(others, min(DRAWN, len(others))))
    return tuple(sorted(asked))[:MAX_HEADS_ASKED]
