"""How fast a transfer goes and how long it will take, in a few words beside its bar."""

import time
from collections import deque
from collections.abc import Callable

from client_agent.progress import Task

WINDOW_SECONDS = 20.0


class Pace:
    """The rate over the last twenty seconds. What was there before the start does not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def text(self, done: int, total: int) -> str:
        """Note that `done` of `total` bytes are over; return size, rate and time left."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()
        size = f"{_bytes(done)} of {_bytes(total)}"
        began, before = self._seen[0]
        if done <= before or now <= began:
            return size
        rate = (done - before) / (now - began)
        return f"{size}, {_bytes(rate)}/s, {_duration((total - done) / rate)} left"


def shown(task: Task) -> Callable[[int, int], None]:
    """Return a callback for a transfer that moves `task` and says rate and time left."""
    pace = Pace()
    return lambda done, total: task.update(done, pace.text(done, total))


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
