"""The table of a results folder, on a terminal and as Markdown for docs/."""

from collections.abc import Sequence

from benchmarks.arms import TITLES
from benchmarks.recovery.results import Summary

COLUMNS = (
    "arm", "accuracy", "macro AUROC", "macro F1", "bytes a site", "rounds", "seconds",
    "CPU seconds", "seeds",
)  # fmt: skip


def rows(summaries: Sequence[Summary]) -> list[list[str]]:
    """Return one row an arm and budget, in the order of `TITLES`."""
    order = list(TITLES)
    several = len({summary.key.budget for summary in summaries}) > 1
    return [
        [
            TITLES[summary.key.arm] + (f", {summary.key.budget:g} s" if several else ""),
            _spread(summary, "accuracy", 3),
            _spread(summary, "auroc", 3),
            _spread(summary, "f1", 3),
            _size(summary.bytes_per_site),
            f"{summary.rounds:g}" if summary.rounds else "",
            _spread(summary, "seconds", 0),
            _spread(summary, "cpu_seconds", 0),
            str(len(summary.seeds)),
        ]
        for summary in sorted(
            summaries, key=lambda item: (order.index(item.key.arm), item.key.budget)
        )
    ]


def markdown(summaries: Sequence[Summary]) -> str:
    """Return the tables of all splits, one after the other."""
    parts = []
    for split, part in dict.fromkeys((item.key.split, item.key.part) for item in summaries):
        group = [item for item in summaries if (item.key.split, item.key.part) == (split, part)]
        lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
        lines += [" | ".join(row) for row in rows(group)]
        table = "\n".join(f"| {line} |" for line in lines)
        parts.append(f"Split `{split}`, {part} images\n\n{table}\n")
    return "\n".join(parts)


def _spread(summary: Summary, name: str, digits: int) -> str:
    mean, spread = summary.mean[name], summary.spread[name]
    if mean is None or spread is None:
        return ""
    text = f"{mean:,.{digits}f}"
    return f"{text} ± {spread:,.{digits}f}" if len(summary.seeds) > 1 else text


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size else ""
