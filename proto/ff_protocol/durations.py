"""Durations as people write them: `90`, `90s`, `2m`, `1h30m`, `7d`."""

import datetime as dt
import re

from ff_protocol.errors import SpecError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)


def parse_duration(text: str) -> dt.timedelta:
    """Parse a duration.

    Raises:
        SpecError: not a positive duration in days, hours, minutes and seconds.
    """
    match = _FORM.fullmatch(text.strip().lower())
    parts = match.groups() if match else (None,)
    try:
        seconds = sum(
            int(part) * unit for part, unit in zip(parts, _UNITS.values(), strict=False) if part
        )
        duration = dt.timedelta(seconds=seconds)
    except OverflowError as error:
        raise SpecError(f"duration {text!r} is too long") from error
    if not seconds:
        raise SpecError(f"duration {text!r}: write for example 90s, 10m, 1h30m or 7d")
    return duration


def format_duration(seconds: float) -> str:
    """Format for people: `42 s`, `3 min 05 s`, `2 h 04 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
