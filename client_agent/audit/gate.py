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
        if self.measured is None:
            return f"{self.figure} was not measured ({self.bound} is demanded)"
        interval = ""
        if self.measured.low is not None and self.measured.high is not None:
            interval = f" ({self.measured.low:.3g} to {self.measured.high:.3g})"
        return f"{self.figure} is {self.measured.value:.3g}{interval}, {self.bound} is allowed"


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
        elif beyond(measured, bound):
            failures.append(Failure(name, bound, measured))
    return tuple(failures)


def beyond(figure: Figure, bound: Bound) -> bool:
    """Say whether a figure fails its bound; see `Bound.fails`."""
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    kindest, worst = (low, high) if bound.max is not None else (high, low)
    judged = {"certain": kindest, "found": figure.value, "possible": worst}[bound.fails]
    if bound.max is not None:
        return judged > bound.max
    assert bound.min is not None
    return judged < bound.min
