"""What the main thread waits for; each is put into its queue by whoever notices it first."""

from dataclasses import dataclass
from queue import SimpleQueue


@dataclass(frozen=True)
class Rang:
    """The coordinator has something new."""


@dataclass(frozen=True)
class Reached:
    """The coordinator answers."""


@dataclass(frozen=True)
class Unreached:
    """The coordinator does not answer, or not as it should."""

    error: Exception


@dataclass(frozen=True)
class Ended:
    """Heavy work has ended."""


@dataclass(frozen=True)
class Hangup:
    """SIGHUP: open the log anew and look at everything again."""


Event = Rang | Reached | Unreached | Ended | Hangup
Events = SimpleQueue[Event]
