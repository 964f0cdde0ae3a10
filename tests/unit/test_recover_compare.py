"""Means, spreads, ratios, tables and figures follow from the runs alone."""

import xml.etree.ElementTree as ElementTree
from dataclasses import asdict

import pytest

pytest.importorskip("numpy")

from benchmarks.arms import TITLES
from benchmarks.recovery.compare import compare
from benchmarks.recovery.figures import draw, write_figures
from benchmarks.recovery.results import Key, ResultsFile, Run, summarise
from benchmarks.recovery.table import COLUMNS, markdown, rows
from ff_protocol.errors import MalformedError


def run(arm, accuracy, *, budget=900.0, seed=0, seconds=800.0, auroc=0.9, split="silos"):
    return Run(
        arm=arm, split=split, budget=budget, part="test", seed=seed, accuracy=accuracy,
        auroc=auroc, f1=accuracy, bytes_per_site=2_000_000, rounds=1, seconds=seconds,
        cpu_seconds=2 * seconds, sites=8, threads=2, command="c", environment={},
    )  # fmt: skip


RUNS = [
    run("centralised", 0.96, seconds=100, auroc=0.99),
    run("ff", 0.86, seed=0, auroc=0.97),
    run("ff", 0.90, seed=1, auroc=0.99),
    run("ff", 0.94, budget=3600.0, seconds=3500),
    run("ff", 0.30, budget=60.0, seconds=60),
    run("ddpm", 0.44, seconds=900),
    run("ff", 0.10, split="two"),
]


def test_means_and_spreads_run_over_seeds_of_one_arm_split_and_budget():
    first = {item.key: item for item in summarise(RUNS)}[Key("ff", "silos", 900.0, "test")]
    assert first.seeds == (0, 1)
    assert first.mean["accuracy"] == pytest.approx(0.88)
    assert first.spread["accuracy"] == pytest.approx(0.0283, abs=1e-4)
    lonely = summarise([run("own", 0.5, auroc=None)])[0]
    assert lonely.mean["auroc"] is None
    assert lonely.spread["accuracy"] == 0


def test_shares_are_against_centralised_and_the_stock_recipe_of_the_same_split_and_budget():
    found = {(item["split"], item["budget"]): item for item in compare(summarise(RUNS))}
    ours = found["silos", 900.0]
    assert ours["share_of_centralised"] == pytest.approx(0.88 / 0.96)
    assert ours["auroc_short_of_centralised"] == pytest.approx(0.01)
    assert ours["accuracy_over_ddpm"] == pytest.approx(0.88 / 0.44)
    # 60 s did not reach 0.44, 900 s did, in 800 s.
    assert ours["seconds_of_ddpm_over_ours"] == pytest.approx(900 / 800)
    assert "accuracy_over_ddpm" not in found["silos", 3600.0]
    assert ("two", 900.0) not in found


def test_the_table_has_a_row_an_arm_in_its_order():
    table = rows([item for item in summarise(RUNS) if item.key.split == "silos"])
    assert [row[0].split(",")[0] for row in table] == [
        "diffusers' stock DDPM per class", *["Federated Factory"] * 3, "images pooled",
    ]  # fmt: skip
    assert all(len(row) == len(COLUMNS) for row in table)
    text = markdown(summarise(RUNS))
    assert "0.880 ± 0.028" in text
    assert text.count("| arm |") == 2


def test_figures_are_well_formed_and_show_every_arm(tmp_path):
    summaries = summarise([run(arm, 0.5) for arm in TITLES] + RUNS)
    paths = write_figures(summaries, tmp_path, "cells <8>")
    assert {path.name for path in paths} >= {"silos-accuracy.svg", "two-auroc-a-site.svg"}
    for path in paths:
        ElementTree.parse(path)
    text = (tmp_path / "silos-accuracy.svg").read_text()
    assert all(title in text for title in TITLES.values())
    assert draw([], "accuracy", "nothing", "seconds").startswith("<svg")


@pytest.mark.parametrize(
    ("accuracies", "seconds", "up", "along"),
    [
        ((0.91, 0.97), (110, 430), {"0.90", "0.92", "1.00"}, {"100", "500"}),
        ((0.125, 0.9), (1000, 1000), {"0.0", "0.2", "1.0"}, {"1000", "2000"}),
        ((1.0, 1.0), (3, 12), {"0.99", "1.00"}, {"2", "5", "10", "20"}),
    ],
)
def test_axes_are_as_fine_as_the_marks_are_close(accuracies, seconds, up, along):
    marks = [
        run("ff", accuracy, seconds=took, budget=float(number + 1))
        for number, (accuracy, took) in enumerate(zip(accuracies, seconds, strict=True))
    ]
    root = ElementTree.fromstring(draw(summarise(marks), "accuracy", "t", "seconds"))
    assert {element.text for element in root.iter() if element.tag.endswith("text")} >= up | along
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    for mark in circles[:-1]:  # the last one is the legend's
        assert 0 < float(mark.get("cx")) < 600
        assert 30 < float(mark.get("cy")) < 440


def test_results_survive_a_trip_through_the_file(tmp_path):
    results = ResultsFile(tmp_path, {"name": "x"})
    for item in RUNS:
        results.add(item)
    results.fail(Key("vae", "two", 9.0, "test"), 4, "too few images")
    again = ResultsFile(tmp_path, {"name": "x"})
    assert [asdict(item) for item in again.runs] == [asdict(item) for item in RUNS]
    assert again.has(RUNS[3].key, 0)
    assert not again.has(RUNS[3].key, 1)
    assert again.failed == []  # tried again
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(MalformedError, match="not a results file"):
        ResultsFile(tmp_path, {"name": "x"})
