"""Jobs as people see them: a bar each, and their remarks by name, a remark of all of them once."""

import threading
from contextlib import AbstractContextManager
from typing import Any

from client_agent.engines.engine import Job
from client_agent.progress import Progress, Task


class JobBars:
    """Shows a bar for each job at work.

    Args:
        progress: where.
        verb: what is being done to the job's name.
    """

    def __init__(self, progress: Progress, verb: str) -> None:
        self._progress, self._verb = progress, verb
        self._lock = threading.Lock()
        self._open: dict[str, tuple[AbstractContextManager[Task], Task]] = {}

    def started(self, job: Job) -> None:
        """See `engine.Watcher`."""
        with self._lock:
            bar = self._progress.task(f"{self._verb} {job.name}", 1)
            self._open[job.name] = bar, bar.__enter__()

    def progressed(self, job: Job, fraction: float, text: str) -> None:
        """See `engine.Watcher`."""
        self._open[job.name][1].update(fraction, text)

    def noted(self, job: Job, text: str) -> None:
        """See `engine.Watcher`."""
        self._progress.note(f"{job.name}: {text}")

    def stopped(self, job: Job, *, done: bool) -> None:
        """See `engine.Watcher`; work that was broken off is not shown as done."""
        with self._lock:
            bar, _ = self._open.pop(job.name)
            reason: tuple[Any, ...] = (None, None, None)
            if not done:
                broken_off = _BrokenOffError()
                reason = (_BrokenOffError, broken_off, None)
            bar.__exit__(*reason)


class _BrokenOffError(Exception):
    """Tells a bar that its work did not come to its end."""
