"""Accuracy and macro AUROC against seconds, as SVG files written by hand.

One mark an arm and budget, at the mean over seeds, with the spread as a bar; marks of one arm under
several budgets are joined. Seconds are on a logarithmic axis.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.arms import TITLES
from benchmarks.recovery.results import Summary
from ff_protocol.files import write_atomically

WIDTH, HEIGHT = 920, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 340, 40, 55
_MOST_LINES = 6
_COLOURS = (
    "#4c78a8", "#f58518", "#e45756", "#72b7b2", "#54a24b", "#b79a20", "#b279a2", "#ff9da6",
    "#9d755d", "#767676", "#2f4b7c", "#d62728", "#17becf", "#8c564b", "#111111", "#7f7f7f",
)  # fmt: skip
_NAMES = {"accuracy": "accuracy", "auroc": "macro AUROC"}


def write_figures(summaries: Sequence[Summary], folder: Path, title: str) -> list[Path]:
    """Write four figures for each split and part that has a run.

    They are accuracy and macro AUROC, against the seconds of the whole federation with its sites in
    turn, and against the seconds that one site spends: `SPLIT-accuracy.svg`,
    `SPLIT-accuracy-a-site.svg` and so on.

    Returns:
        the files.
    """
    written = []
    for split, part in dict.fromkeys((item.key.split, item.key.part) for item in summaries):
        group = [item for item in summaries if (item.key.split, item.key.part) == (split, part)]
        stem = split if part == "test" else f"{split}-{part}"
        for name in _NAMES:
            for ending, unit, share in (
                ("", "seconds, sites in turn", lambda item: 1),
                ("-a-site", "seconds a site", lambda item: item.sites),
            ):
                path = folder / f"{stem}-{name}{ending}.svg"
                text = draw(group, name, f"{title}, split {split}, {part} images", unit, share)
                write_atomically(path, text.encode())
                written.append(path)
    return written


def draw(
    summaries: Sequence[Summary],
    name: str,
    title: str,
    unit: str,
    share: Callable[[Summary], int] = lambda item: 1,
) -> str:
    """Return one figure.

    Args:
        summaries: what to show; those without the figure are left out.
        name: `accuracy` or `auroc`.
        title: written above.
        unit: of the horizontal axis.
        share: what a summary's seconds are divided by.
    """
    points = {
        arm: sorted(
            (max((item.mean["seconds"] or 0) / share(item), 0.1), mean, item.spread[name] or 0.0)
            for item in summaries
            if item.key.arm == arm and (mean := item.mean[name]) is not None
        )
        for arm in TITLES
    }
    drawn = {arm: marks for arm, marks in points.items() if marks}
    every = [mark for marks in drawn.values() for mark in marks]
    along = _ticks_of_seconds([mark[0] for mark in every])
    up = _ticks_to_one(min((mark[1] - mark[2] for mark in every), default=0.0))

    def x(seconds: float) -> float:
        share_along = math.log(seconds / along[0]) / math.log(along[-1] / along[0])
        return _LEFT + share_along * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share_up = (value - up[0]) / (up[-1] - up[0])
        return HEIGHT - _BOTTOM - share_up * (HEIGHT - _TOP - _BOTTOM)

    parts = [_text(_LEFT, 22, title, size=15), _axes(x, y, along, up, unit, _NAMES[name])]
    for row, (arm, marks) in enumerate(drawn.items()):
        colour = _COLOURS[list(TITLES).index(arm) % len(_COLOURS)]
        parts += _series(marks, colour, x, y)
        top = _TOP + 10 + 22 * row
        parts.append(_circle(WIDTH - _RIGHT + 25, top, colour))
        parts.append(_text(WIDTH - _RIGHT + 36, top + 4, TITLES[arm]))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        f"{body}\n</svg>\n"
    )


def _ticks_of_seconds(seconds: Sequence[float]) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that enclose `seconds`, two at the least."""
    low, high = min(seconds, default=1.0), max(seconds, default=1.0)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    first = max(i for i, tick in enumerate(ticks) if tick <= low)
    last = min(i for i, tick in enumerate(ticks) if tick >= high)
    return ticks[first : max(last, first + 1) + 1]


def _ticks_to_one(lowest: float) -> list[float]:
    """Return evenly spaced values from at most `lowest` (below 1) to 1."""
    for lines in (100, 50, 20, 10, 5):
        bottom = min(math.floor(lowest * lines), lines - 1)
        if lines - bottom <= _MOST_LINES:
            break
    return [line / lines for line in range(bottom, lines + 1)]


Scale = Callable[[float], float]


def _series(marks: list[tuple[float, float, float]], colour: str, x: Scale, y: Scale) -> list[str]:
    parts = []
    if len(marks) > 1:
        line = " ".join(f"{x(seconds):.1f},{y(value):.1f}" for seconds, value, _ in marks)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for seconds, value, spread in marks:
        if spread:
            parts.append(
                _line(x(seconds), y(value - spread), x(seconds), y(value + spread), colour)
            )
        parts.append(_circle(x(seconds), y(value), colour))
    return parts


def _axes(
    x: Scale, y: Scale, along: Sequence[float], up: Sequence[float], unit: str, name: str
) -> str:
    parts = []
    for seconds in along:
        at = x(seconds)
        parts.append(_line(at, y(up[0]), at, y(up[-1]), "#dddddd"))
        parts.append(_text(at, y(up[0]) + 18, f"{seconds:g}", anchor="middle"))
    decimals = 2 if round(100 * (up[1] - up[0])) % 10 else 1
    for value in up:
        parts.append(_line(_LEFT, y(value), WIDTH - _RIGHT, y(value), "#dddddd"))
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.{decimals}f}", anchor="end"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 12, unit, anchor="middle"))
    middle = (y(up[0]) + y(up[-1])) / 2
    parts.append(
        f'<g transform="rotate(-90 20 {middle:.0f})">{_text(20, middle, name, anchor="middle")}</g>'
    )
    return "\n".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _circle(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
