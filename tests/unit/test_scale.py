"""The benchmark of large federations, in its quick form."""

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")  # versions are stored beside every figure

from benchmarks.large.measures import NEWS
from benchmarks.scale import growth, main


def test_growth_is_the_slope_between_the_two_largest_sizes():
    rows = [
        {"sites": 1000, "newcomer_bytes": 8000, "return_bytes": 50},
        {"sites": 10, "newcomer_bytes": 999, "return_bytes": 1},
        {"sites": 100, "newcomer_bytes": 80, "return_bytes": 50},
    ]
    names = set(rows[0]) - {"sites"}
    rows = [{**dict.fromkeys(_figures(), 0), **row} for row in rows]
    found = growth(rows)
    assert found["newcomer_bytes"] == pytest.approx(2)
    assert found["return_bytes"] == 0
    assert all(found[name] is None for name in found if name not in names)
    assert set(growth(rows[:1]).values()) == {None}


def _figures() -> list[str]:
    from dataclasses import fields

    from benchmarks.large.measures import Row

    return [item.name for item in fields(Row)]


def test_a_federation_is_made_and_measured(tmp_path):
    done = CliRunner().invoke(main, ["--quick", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["environment"]["commit"]
    small, large = stored["rows"]
    assert (small["sites"], large["sites"]) == (4, 16)
    # Statements are about 3 KiB each: a newcomer takes all, who comes back takes what is new.
    assert large["newcomer_bytes"] > 16 * 2000 > NEWS * 2000 > 0
    assert small["fetch_modules"] == 4
    assert large["coordinator_peak_mib"] > 10
    assert stored["exponents"]["newcomer_bytes"] == pytest.approx(1, abs=0.25)


def test_sizes_that_are_none_are_refused():
    for text in ("ten", "", "0", "10,999999"):
        assert CliRunner().invoke(main, ["--sites", text]).exit_code == 2
