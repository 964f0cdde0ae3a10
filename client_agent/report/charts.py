"""Small charts as inline SVG: lines, squares, intervals. Colours come from the page's style sheet.

Every chart is an image with a title and a description for those who do not see it, and the page
gives the same numbers in a table. Lines are told apart by dashes, not by colour alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from client_agent.classifier.curves import Calibration, Roc
from client_agent.report.content import LearningCurve

_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 8, 8, 30


@dataclass(frozen=True)
class _Axes:
    """A plot area and its scales, linear on both axes."""

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return pixels for a point; what lies outside is put on the edge."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0] or 1)
        up = (y - self.y[0]) / (self.y[1] - self.y[0] or 1)
        across, up = min(max(across, 0), 1), min(max(up, 0), 1)
        return (
            _LEFT + across * (self.width - _LEFT - _RIGHT),
            self.height - _BOTTOM - up * (self.height - _TOP - _BOTTOM),
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> str:
        """Return a line through points."""
        placed = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*item) for item in points))
        return f'<polyline class="{kind}" points="{placed}"/>'

    def frame(self, x_label: str, y_label: str) -> str:
        """Return axes, grid lines, ticks and labels."""
        left, bottom = self.place(self.x[0], self.y[0])
        right, top = self.place(self.x[1], self.y[1])
        parts = []
        for value in ticks(*self.y):
            _, level = self.place(0, value)
            parts.append(
                f'<line class="grid" x1="{left}" x2="{right}" y1="{level:.1f}" y2="{level:.1f}"/>'
            )
            parts.append(_text("tick", left - 4, level + 3, number(value), anchor="end"))
        for value in ticks(*self.x):
            column, _ = self.place(value, 0)
            parts.append(_text("tick", column, bottom + 11, number(value)))
        parts.append(f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>')
        parts.append(_text("label", (left + right) / 2, self.height - 5, x_label))
        centre = (top + bottom) / 2
        turned = f' transform="rotate(-90 9 {centre:.0f})"'
        parts.append(_text("label", 9, centre + 3, y_label, more=turned))
        return "".join(parts)

    def svg(self, title: str, description: str, inner: str) -> Markup:
        """Return the whole chart."""
        label = f"{title}. {description}"
        return Markup(  # noqa: S704  # all text in `inner` went through `escape`
            f'<svg class="chart" role="img" aria-label="{escape(label)}" '
            f'viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}">{inner}</svg>'
        )


def roc_chart(roc: Roc) -> Markup:
    """Draw one class's ROC curve in a square."""
    axes = _Axes(196, 184, (0, 1), (0, 1))
    points = list(zip(roc.false_positive, roc.true_positive, strict=True))
    inner = axes.frame("false alarms", "found") + axes.path([(0, 0), (1, 1)], "chance")
    low, high = roc.interval
    return axes.svg(
        f"ROC curve of {roc.class_name}",
        f"Area {roc.area:.3f}, 95 % interval {low:.3f} to {high:.3f}",
        inner + axes.path(points, "line one"),
    )


def calibration_chart(calibration: Calibration) -> Markup:
    """Draw accuracy with its intervals against confidence; the diagonal is perfect."""
    axes = _Axes(340, 300, (0, 1), (0, 1))
    inner = axes.frame("stated probability of the label", "share that was right")
    inner += axes.path([(0, 0), (1, 1)], "chance")
    most = max((item.images for item in calibration.bins), default=1)
    for item in calibration.bins:
        x, y = axes.place(item.confidence, item.accuracy)
        (_, low), (_, high) = axes.place(0, item.interval[0]), axes.place(0, item.interval[1])
        radius = 2.5 + 4.5 * math.sqrt(item.images / most)
        inner += f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        inner += f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
    return axes.svg(
        "Calibration",
        f"Expected calibration error {calibration.error:.3f}; points below the diagonal are "
        "over-confident. The table beside it has the numbers",
        inner,
    )


def learning_chart(curve: LearningCurve) -> Markup:
    """Draw a learning curve: training loss solid, held-out loss dashed."""
    held = [point for point in curve.held_out if math.isfinite(point[1])]
    levels = [value for value in curve.losses if math.isfinite(value)] + [y for _, y in held]
    top = sorted(levels)[int(0.98 * (len(levels) - 1))] if levels else 1.0
    last = max([*curve.steps, *(x for x, _ in held), 1.0])
    axes = _Axes(300, 190, (0, last), (0, top * 1.08 or 1.0))
    inner = axes.frame({"step": "steps", "pass": "passes"}.get(curve.unit, curve.unit), "loss")
    inner += axes.path(list(zip(curve.steps, curve.losses, strict=True)), "line one")
    if held:
        inner += axes.path(held, "line two")
    words = f"Training loss from {curve.losses[0]:.3g} to {curve.losses[-1]:.3g}"
    if held:
        words += f"; held-out loss ends at {held[-1][1]:.3g}"
    return axes.svg(f"Learning curve of {curve.title}", words, inner)


def _text(
    kind: str, x: float, y: float, text: str, *, anchor: str = "middle", more: str = ""
) -> str:
    return (
        f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}"{more}>'
        f"{escape(text)}</text>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Return about four round values between `low` and `high`."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if span / (unit * factor) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """Return a tick's text: short, thousands as k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.6g}"
