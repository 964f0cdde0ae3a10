"""What stands beside a transfer's bar."""

from client_agent.relay.pace import Pace


def pace(*moments):
    times = iter(moments)
    return Pace(clock=lambda: next(times))


def test_rate_and_time_left_are_those_of_what_is_transferred_now():
    shown = pace(0.0, 10.0)
    assert shown.text(40_000_000, 100_000_000) == "40.0 MB of 100.0 MB"
    # What was there before the start (a resumed transfer) does not count towards the rate.
    assert shown.text(50_000_000, 100_000_000) == "50.0 MB of 100.0 MB, 1.0 MB/s, 50 s left"


def test_a_line_that_has_become_slow_is_shown_as_slow():
    shown = pace(0.0, 1.0, 31.0, 41.0)
    shown.text(0, 10**9)
    shown.text(500_000_000, 10**9)
    shown.text(501_000_000, 10**9)
    assert shown.text(502_000_000, 10**9).endswith("100.0 kB/s, 83 min left")


def test_a_transfer_that_stands_still_promises_nothing():
    shown = pace(0.0, 5.0)
    shown.text(10, 100)
    assert shown.text(10, 100) == "10 B of 100 B"
