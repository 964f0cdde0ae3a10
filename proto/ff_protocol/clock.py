"""The present time, in one place, so that tests and rules can be given another."""

import datetime as dt


def utc_now() -> dt.datetime:
    """Return the present time, time-zone aware, in UTC."""
    return dt.datetime.now(dt.UTC)


def timestamp(moment: dt.datetime) -> str:
    """Format as RFC 3339 in UTC to the second, for example `2026-11-23T14:00:00Z`."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> dt.datetime:
    """Parse what `timestamp` writes.

    Raises:
        ValueError: another form.
    """
    return dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
