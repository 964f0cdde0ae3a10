"""Naming the first few of many in a message."""

from collections.abc import Sequence

SHOWN = 10


def listed(items: Sequence[str], shown: int = SHOWN) -> str:
    """Join the first few, and say how many more there are."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
