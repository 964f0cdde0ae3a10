"""Whether a module may leave: its figures against the site's bounds. A pure function."""

from collections.abc import Mapping
from dataclasses import dataclass

from client_agent.audit.thresholds import Bound, Thresholds
from ff_protocol.card import Figure


@dataclass(frozen=True)
class Failure:
    """One figure that fails.

    Attributes:
        figure: its name.
        bound: what it should have kept.
        measured: the figure, None if it was not measured.
    """

    figure: str
    bound: Bound
    measured: Figure | None

    def __str__(self) -> str:
        """Say it in one line, for example `membership_auc is 0.93 (0.88 to 0.97), at most 0.6`."""
        limit = f"at most {self.bound.max:g}" if self.bound.max is not None else ""
        limit = limit or f"at least {self.bound.min:g}"
        if self.measured is None:
            return f"{self.figure} was not measured ({limit} is demanded)"
        interval = ""
        if self.measured.low is not None and self.measured.high is not None:
            interval = f" ({self.measured.low:.3g} to {self.measured.high:.3g})"
        return f"{self.figure} is {self.measured.value:.3g}{interval}, {limit} is allowed"


def verdict(figures: Mapping[str, Figure], thresholds: Thresholds) -> tuple[Failure, ...]:
    """Return the figures that fail, in the order of the thresholds; none means release.

    Args:
        figures: fidelity and memorisation together, by name.
        thresholds: the site's bounds; those that are None demand nothing.
    """
    failures = []
    for name, bound in thresholds.root.items():
        if bound is None:
            continue
        measured = figures.get(name)
        if measured is None:
            if bound.required:
                failures.append(Failure(name, bound, None))
        elif _beyond(measured, bound):
            failures.append(Failure(name, bound, measured))
    return tuple(failures)


def _beyond(figure: Figure, bound: Bound) -> bool:
    low, high = figure.low, figure.high
    if bound.by == "value":
        low = high = None
    if bound.max is not None:
        return (figure.value if low is None else low) > bound.max
    assert bound.min is not None
    return (figure.value if high is None else high) < bound.min
