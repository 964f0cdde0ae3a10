"""Figures that need two arms: share of centralised accuracy, and ratios to the stock DDPM."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.recovery.results import Summary

OURS = ("ff", "ff_evidence", "ff_mixed", "ff_poe")


def compare(summaries: Sequence["Summary"]) -> list[dict[str, Any]]:
    """Compare arms on the same split and part.

    Returns:
        for each arm and budget of ours, where the other side exists, a dict with `arm`, `split`,
        `budget`, `part` and any of
        `share_of_centralised`: accuracy over that of the centralised single model;
        `auroc_short_of_centralised`: how much lower the macro AUROC is;
        `accuracy_over_ddpm`: accuracy over that of the stock recipe under the same budget;
        `seconds_of_ddpm_over_ours`: how much longer the stock recipe took for an accuracy that ours
        reached (our shortest budget that reached it); absent while ours has not.
    """
    return [
        {
            "arm": ours.key.arm,
            "split": ours.key.split,
            "budget": ours.key.budget,
            "part": ours.key.part,
            **figures,
        }
        for ours in summaries
        if ours.key.arm in OURS and (figures := _figures(ours, summaries))
    ]


def _figures(ours: "Summary", summaries: Sequence["Summary"]) -> dict[str, float]:
    beside = [
        other
        for other in summaries
        if (other.key.split, other.key.part) == (ours.key.split, ours.key.part)
    ]
    found = {}
    central = [other for other in beside if other.key.arm == "centralised"]
    if central:
        # The longest allowed: the bar is what the recipe reaches when it is not cut short.
        bar = max(central, key=lambda other: other.key.budget)
        found["share_of_centralised"] = _value(ours, "accuracy") / _value(bar, "accuracy")
        if ours.mean["auroc"] is not None and bar.mean["auroc"] is not None:
            found["auroc_short_of_centralised"] = _value(bar, "auroc") - _value(ours, "auroc")
    for stock in beside:
        if stock.key.arm != "ddpm" or stock.key.budget != ours.key.budget:
            continue
        found["accuracy_over_ddpm"] = _value(ours, "accuracy") / _value(stock, "accuracy")
        equal = [
            other
            for other in beside
            if other.key.arm == ours.key.arm
            and _value(other, "accuracy") >= _value(stock, "accuracy")
        ]
        if equal:
            quickest = min(_value(other, "seconds") for other in equal)
            found["seconds_of_ddpm_over_ours"] = _value(stock, "seconds") / quickest
    return found


def _value(summary: "Summary", name: str) -> float:
    value = summary.mean[name]
    assert value is not None
    return value
