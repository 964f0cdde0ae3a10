"""A table of audit figures for people."""

from collections.abc import Sequence

from client_agent.audit.figures import JudgedFigure


def show_figures(figures: Sequence[JudgedFigure]) -> None:
    """Print figures with interval, number of images, bound, verdict and source."""
    from client_agent.console import show_table

    rows = [
        [
            item.name,
            "-" if item.figure is None else f"{item.figure.value:.4g}",
            _interval(item),
            "-" if item.figure is None else item.figure.samples,
            _bound(item),
            "" if item.bound is None else "ok" if item.holds else "FAILS",
            item.paper,
        ]
        for item in figures
    ]
    if rows:
        show_table("", ["figure", "value", "95 % interval", "images", "bound", "", "paper"], rows)


def _interval(item: JudgedFigure) -> str:
    figure = item.figure
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:.4g} to {figure.high:.4g}"


def _bound(item: JudgedFigure) -> str:
    return "" if item.bound is None else str(item.bound)
