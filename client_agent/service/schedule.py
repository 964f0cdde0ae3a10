"""When heavy work may run: pure functions of the settings, the present time and the load.

The clock on the wall decides: work may run whenever it shows a time inside a window. So a window
that the change to summer time cuts into is shorter on that day, one that contains the hour that
comes twice is longer, and nothing needs to be remembered when the clock is set.
"""

import datetime as dt
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ff_protocol.errors import SpecError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = frozenset(range(7))
_MIDNIGHT = 24 * 60
_MINUTE = dt.timedelta(minutes=1)
_HORIZON_MINUTES = 8 * _MIDNIGHT
_FORM = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:[-,][a-z]{3})*)\s*)?"
    r"(?P<times>(?P<start>\d{1,2}:\d\d)\s*-\s*(?P<end>\d{1,2}:\d\d))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Window:
    """Hours on some days of the week.

    Attributes:
        days: days on which it begins, 0 is Monday.
        start: minutes after midnight, 0 to 1439.
        end: minutes after midnight, 1 to 1440; not after `start` means on the next day.
    """

    days: frozenset[int]
    start: int
    end: int

    def holds(self, local: dt.datetime) -> bool:
        """Say whether this reading of the wall's clock lies inside."""
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        began_yesterday = (today - 1) % 7 in self.days and minute < self.end
        return began_yesterday or (today in self.days and minute >= self.start)


@dataclass(frozen=True)
class Schedule:
    """What heavy work has to wait for.

    Attributes:
        windows: it runs inside one of these only; none: at any time.
        zone: whose clock the windows mean; None: this machine's.
        max_load: it begins only while fewer processes than this want each core, by the mean of
            the last minute; None: at any load.
    """

    windows: tuple[Window, ...] = ()
    zone: dt.tzinfo | None = None
    max_load: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether work may begin; if not, why, and when to ask again if that is known."""

    may: bool
    reason: str = ""
    again: dt.datetime | None = None


def parse_window(text: str) -> Window:
    """Parse `22:00-06:00`, `mon-fri 20:00-06:00`, `sat,sun`.

    Raises:
        SpecError: another form, or no such day or time.
    """
    match = _FORM.fullmatch(text.strip().lower())
    if match is None or not (match["days"] or match["times"]):
        raise _bad(text, "write for example 22:00-06:00, mon-fri 20:00-06:00 or sat,sun")
    days = _days(match["days"], text) if match["days"] else _EVERY_DAY
    if match["times"] is None:
        return Window(days, 0, _MIDNIGHT)
    start, end = _minutes(match["start"], text), _minutes(match["end"], text)
    if start == _MIDNIGHT or end == start:
        raise _bad(text, "it begins before 24:00 and ends at another time; 00:00-24:00 is all day")
    return Window(days, start, end or _MIDNIGHT)


def parse_zone(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        SpecError: this machine knows none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SpecError(
            f"time zone {name!r} is not known here",
            hint="names are like Europe/Berlin; the package tzdata holds them",
        ) from error


def is_open(schedule: Schedule, now: dt.datetime) -> bool:
    """Say whether `now` (time-zone aware) lies inside a window: what has begun may go on."""
    if not schedule.windows:
        return True
    local = now.astimezone(schedule.zone)
    return any(window.holds(local) for window in schedule.windows)


def next_opening(schedule: Schedule, now: dt.datetime) -> dt.datetime | None:
    """Return the first whole minute after `now` at which a window is open, in UTC.

    None if that is more than eight days away, which no window is.
    """
    moment = now.astimezone(dt.UTC).replace(second=0, microsecond=0)
    for _ in range(_HORIZON_MINUTES):
        moment += _MINUTE
        if is_open(schedule, moment):
            return moment
    return None


def may_begin(schedule: Schedule, now: dt.datetime, load: float | None) -> Verdict:
    """Decide whether heavy work may begin.

    Args:
        schedule: what it has to wait for.
        now: time-zone aware.
        load: processes that want each core, mean of the last minute; None where it is not known.
    """
    if not is_open(schedule, now):
        return Verdict(False, "outside the hours", next_opening(schedule, now))
    if schedule.max_load is not None and load is not None and load >= schedule.max_load:
        return Verdict(False, f"the load is not below {schedule.max_load:g} a core")
    return Verdict(True)


def _days(text: str, whole: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = _day(first, whole), _day(last or first, whole)
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(found)


def _day(text: str, whole: str) -> int:
    if text not in DAYS:
        raise _bad(whole, f"{text!r} is no day; days are {', '.join(DAYS)}")
    return DAYS.index(text)


def _minutes(text: str, whole: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if minute > 59 or hour * 60 + minute > _MIDNIGHT:
        raise _bad(whole, f"{text} is no time of day")
    return hour * 60 + minute


def _bad(text: str, why: str) -> SpecError:
    return SpecError(f"hours {text!r}: {why}")
