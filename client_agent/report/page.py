"""The report as one self-contained HTML file: no script, no network, every value escaped."""

from typing import Any

from client_agent.report import charts
from client_agent.report.content import Content, Light
from client_agent.report.lights import explain
from client_agent.report.pictures import data_uri
from ff_protocol.card import bucket
from ff_protocol.durations import format_duration

NONE = "\N{EN DASH}"
"""Stands for a figure that does not exist."""

LIGHTS: dict[Light, tuple[str, str]] = {
    "green": ("✓", "within the bounds"),
    "amber": ("▲", "borderline"),
    "red": ("✕", "outside a bound"),
    "grey": (NONE, "not judged"),
}
"""Each light's sign and words: it never rests on colour alone."""


def render(content: Content) -> str:
    """Return the page for `content`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("client_agent.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=lambda value: f"{value:,}",
        figure=_figure,
        interval=_interval,
        percent=lambda value: NONE if value is None else f"{100 * value:.1f} %",
        plain_percent=lambda value: f"{100 * value:.0f}",
        short=lambda digest: "none" if digest is None else digest[:16],
        size=_size,
        span=format_duration,
        when=lambda text: text.replace("T", " ").replace("Z", " UTC"),
    )
    template = environment.get_template("report.html")
    return template.render(
        c=content,
        shareable=content.edition == "shareable",
        number_of=_exact if content.edition == "local" else bucket,
        lights=LIGHTS,
        explain=explain,
        png=data_uri,
        roc_chart=charts.roc_chart,
        calibration_chart=charts.calibration_chart,
        learning_chart=charts.learning_chart,
        share=_share,
    )


def _exact(count: int) -> str:
    return f"{count:,}"


def _figure(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _interval(value: Any, digits: int = 3) -> str:
    """Return `0.87 to 0.93`, or nothing if there is no interval."""
    if value is None or value[0] is None or value[1] is None:
        return NONE
    return f"{value[0]:.{digits}f} to {value[1]:.{digits}f}"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def _share(row: tuple[int, ...], index: int) -> float | None:
    """Share of a confusion matrix's row that lies in one column; None for an empty row."""
    total = sum(row)
    return row[index] / total if total else None
