"""The local engine: one job after the other in this process, or several in processes of their own.

Threads are divided between the processes beforehand: OpenMP's threads wait by spinning, and those
of one process starve another's.
"""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from multiprocessing.connection import wait
from pathlib import Path

from client_agent.engines.dispatch import dispatch
from client_agent.engines.engine import Ended, Events, Job, Watcher, Yielded
from client_agent.engines.helper import Helper
from client_agent.engines.messages import LAST, Died, Message
from client_agent.engines.placement import Slot
from client_agent.engines.work import sweep
from ff_protocol.errors import FederatedFactoryError

_LOOK_SECONDS = 0.2


class LocalEngine:
    """Carries out jobs on this machine.

    Args:
        slots: what each of the jobs carried out at a time gets.
    """

    shares_disk = True

    def __init__(self, slots: Sequence[Slot] = (Slot(),)) -> None:
        self._slots = tuple(slots)

    @property
    def threads(self) -> int | None:
        """See `engine.Engine`."""
        return self._slots[0].threads

    @property
    def one_by_one(self) -> bool:
        """See `engine.Engine`."""
        return len(self._slots) == 1

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Events:
        """See `engine.Engine`."""
        slots = self._slots[: len(jobs)]
        if len(slots) <= 1:
            yield from _here(jobs, watcher)
        else:
            yield from dispatch(jobs, _Processes(slots), watcher)


def _here(jobs: Sequence[Job], watcher: Watcher) -> Events:
    """Carry out jobs in this process; what a job keeps is kept in the home itself."""
    for job in jobs:
        error, done = None, False
        try:
            work = job.describe()
            watcher.started(job)
            try:
                for value in job.function(work.description, _Here(job, work.kept, watcher)):
                    yield Yielded(job, value)
                done = True
            finally:
                watcher.stopped(job, done=done)
        except FederatedFactoryError as fault:
            error = fault
        yield Ended(job, error)


class _Here:
    def __init__(self, job: Job, kept: Path | None, watcher: Watcher) -> None:
        self.kept = kept
        self._job, self._watcher = job, watcher

    @cached_property
    def scratch(self) -> Path:
        """See `engine.Channel`."""
        self._folder = tempfile.TemporaryDirectory()
        return Path(self._folder.name)

    def progress(self, fraction: float, text: str = "") -> None:
        """See `engine.Channel`; Ctrl-C reaches this process by itself."""
        self._watcher.progressed(self._job, fraction, text)

    def note(self, text: str) -> None:
        """See `engine.Channel`."""
        self._watcher.noted(self._job, text)


class _Processes:
    """A crew of processes; each starts with its first order."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._helpers: dict[int, Helper] = {}
        self._busy: set[int] = set()

    @property
    def size(self) -> int:
        """See `dispatch.Crew`."""
        return len(self._slots)

    def begin(self, slot: int, order: bytes) -> None:
        """See `dispatch.Crew`."""
        if slot not in self._helpers:
            self._helpers[slot] = Helper(
                "client_agent.engines.worker", environment(self._slots[slot])
            )
        self._busy.add(slot)
        self._helpers[slot].send(order)

    def messages(self) -> list[tuple[int, Message]]:
        """See `dispatch.Crew`."""
        lines = {helper.line: slot for slot, helper in self._helpers.items()}
        found: list[tuple[int, Message]] = []
        for line in wait(list(lines), _LOOK_SECONDS):
            slot = lines[line]  # type: ignore[index]
            try:
                message = self._helpers[slot].receive()
            except EOFError:
                message = Died(self._helpers.pop(slot).end(patience=5))
            if isinstance(message, LAST):
                if slot not in self._busy:
                    continue
                self._busy.discard(slot)
            found.append((slot, message))
        return found

    def stop(self) -> None:
        """See `dispatch.Crew`."""
        for slot in self._busy:
            self._helpers[slot].send(None)

    def rest(self, slot: int) -> None:
        """See `dispatch.Crew`."""
        if slot in self._helpers:
            self._helpers.pop(slot).end()

    def close(self) -> None:
        """See `dispatch.Crew`."""
        while self._helpers:
            self._helpers.popitem()[1].end()
        sweep()


def environment(slot: Slot) -> dict[str, str]:
    """What a worker's libraries read when they are loaded."""
    values = {"OMP_WAIT_POLICY": "passive"}
    if slot.threads is not None:
        values |= {
            name: str(slot.threads)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
    if slot.gpu is not None:
        values["CUDA_VISIBLE_DEVICES"] = slot.gpu
    return values
