"""When heavy work may run: midnight, summer time, a clock that is set, and the load."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from client_agent.service.schedule import (
    Schedule,
    is_open,
    may_begin,
    next_opening,
    parse_window,
    parse_zone,
)
from ff_protocol.errors import SpecError

BERLIN = ZoneInfo("Europe/Berlin")
UTC = dt.UTC


def schedule(*windows, max_load=None, zone=BERLIN):
    return Schedule(tuple(parse_window(text) for text in windows), zone, max_load)


def berlin(day, time, fold=0):
    """A reading of the clock in Berlin, `2026-11-25`, `22:00`."""
    return dt.datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=BERLIN, fold=fold)


def open_minutes(plan, day):
    """For each minute that passes on a day in Berlin: was it open?"""
    start = berlin(day, "00:00").astimezone(UTC)
    end = (berlin(day, "12:00") + dt.timedelta(days=1)).replace(hour=0).astimezone(UTC)
    count = int((end - start).total_seconds()) // 60
    return [is_open(plan, start + dt.timedelta(minutes=n)) for n in range(count)]


@pytest.mark.parametrize(
    ("time", "open_"),
    [("21:59", False), ("22:00", True), ("23:59", True), ("00:00", True), ("05:59", True),
     ("06:00", False), ("12:00", False)],
)  # fmt: skip
def test_a_window_over_midnight(time, open_):
    assert is_open(schedule("22:00-06:00"), berlin("2026-11-25", time)) is open_


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins():
    plan = schedule("fri 22:00-06:00")  # 2026-11-27 is a Friday
    assert not is_open(plan, berlin("2026-11-27", "05:00"))
    assert is_open(plan, berlin("2026-11-27", "22:30"))
    assert is_open(plan, berlin("2026-11-28", "05:59"))
    assert not is_open(plan, berlin("2026-11-28", "22:30"))


def test_days_alone_are_whole_days_and_ranges_may_pass_the_weekend():
    weekend = schedule("sat,sun")
    assert [is_open(weekend, berlin(f"2026-11-{day}", "12:00")) for day in range(23, 30)] == [
        *[False] * 5, True, True]  # fmt: skip
    around = schedule("fri-mon 10:00-11:00")
    assert [is_open(around, berlin(f"2026-11-{day}", "10:30")) for day in range(23, 30)] == [
        True, False, False, False, True, True, True]  # fmt: skip


def test_several_windows_and_none():
    plan = schedule("mon-fri 20:00-06:00", "sat,sun")
    assert is_open(plan, berlin("2026-11-28", "12:00"))
    assert not is_open(plan, berlin("2026-11-25", "12:00"))
    assert is_open(Schedule(), berlin("2026-11-25", "12:00"))


def test_midnight_ends_a_window():
    plan = schedule("22:00-24:00")
    assert is_open(plan, berlin("2026-11-25", "23:59"))
    assert not is_open(plan, berlin("2026-11-26", "00:00"))
    assert parse_window("22:00-00:00") == parse_window("22:00-24:00")


def test_summer_time_takes_its_hour_out_of_a_window():
    # On 2026-03-29 the clock jumps from 02:00 to 03:00.
    assert sum(open_minutes(schedule("01:00-02:30"), "2026-03-29")) == 60
    assert sum(open_minutes(schedule("02:15-02:45"), "2026-03-29")) == 0
    assert sum(open_minutes(schedule("02:15-03:30"), "2026-03-29")) == 30
    assert len(open_minutes(schedule("01:00-04:00"), "2026-03-29")) == 23 * 60


def test_the_hour_that_comes_twice_is_open_twice():
    # On 2026-10-25 the clock goes back from 03:00 to 02:00.
    assert len(open_minutes(schedule("01:00-04:00"), "2026-10-25")) == 25 * 60
    assert sum(open_minutes(schedule("02:15-02:45"), "2026-10-25")) == 60
    for fold in (0, 1):
        assert is_open(schedule("02:15-02:45"), berlin("2026-10-25", "02:20", fold))
    # Open for twenty minutes, closed when the wall says so, open when it says so again.
    after = next_opening(schedule("02:15-02:45"), berlin("2026-10-25", "02:50"))
    assert after == berlin("2026-10-25", "02:15", fold=1).astimezone(UTC)


def test_a_clock_that_is_set_leaves_nothing_behind():
    plan = schedule("22:00-06:00")
    readings = [berlin("2026-11-25", "23:00"), berlin("2027-01-01", "12:00"),
                berlin("2020-01-01", "12:00"), berlin("2026-11-25", "23:00")]  # fmt: skip
    assert [is_open(plan, now) for now in readings] == [True, False, False, True]


def test_the_same_moment_in_another_zone():
    plan, now = schedule("22:00-06:00"), dt.datetime(2026, 11, 25, 21, 30, tzinfo=UTC)
    assert is_open(plan, now)  # 22:30 in Berlin
    assert not is_open(schedule("22:00-06:00", zone=UTC), now)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (("2026-11-25", "12:00"), ("2026-11-25", "22:00")),
        (("2026-11-25", "22:30"), ("2026-11-25", "22:31")),
        (("2026-03-28", "12:00"), ("2026-03-28", "22:00")),
    ],
)
def test_the_next_opening(now, opens):
    assert next_opening(schedule("22:00-06:00"), berlin(*now)) == berlin(*opens)


def test_the_next_opening_over_a_week_and_over_a_hole_in_the_clock():
    assert next_opening(schedule("wed 12:00-13:00"), berlin("2026-11-25", "13:00")) == berlin(
        "2026-12-02", "12:00"
    )
    # 02:30 does not exist on that day: the window opens when the wall is past it.
    assert next_opening(schedule("02:30-04:00"), berlin("2026-03-29", "00:00")) == berlin(
        "2026-03-29", "03:00"
    )


def test_a_verdict_names_the_reason_and_when_to_ask_again():
    plan, noon = schedule("22:00-06:00", max_load=0.5), berlin("2026-11-25", "12:00")
    closed = may_begin(plan, noon, 0.0)
    assert (closed.may, closed.reason) == (False, "outside the hours")
    assert closed.again == berlin("2026-11-25", "22:00")
    night = berlin("2026-11-25", "23:00")
    assert may_begin(plan, night, 0.49).may
    busy = may_begin(plan, night, 0.5)
    assert not busy.may
    assert "not below 0.5" in busy.reason
    assert may_begin(plan, night, None).may  # where nobody knows the load it stops nothing


@pytest.mark.parametrize(
    "text",
    ["", "22-6", "25:00-26:00", "24:00-06:00", "22:00-22:00", "22:60-23:00", "xyz 22:00-06:00",
     "mon-", "mon 22:00", "mon,fri-xyz", "22:00-24:01", "mon 22:00-06:00 tue"],
)  # fmt: skip
def test_what_is_no_window_is_refused_by_name(text):
    with pytest.raises(SpecError, match="hours"):
        parse_window(text)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "../../etc/passwd", ""])
def test_what_is_no_time_zone_is_refused_by_name(name):
    with pytest.raises(SpecError, match="time zone"):
        parse_zone(name)
