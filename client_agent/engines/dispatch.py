"""Handing jobs out to a crew of workers, in a thread of its own, while results are put away.

The thread keeps the workers busy and the checkpoints safe whatever the caller is doing with the
last result: an audit takes minutes.
"""

import pickle
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Protocol

from client_agent.engines.engine import Ended, Events, Job, Watcher, Work, Yielded
from client_agent.engines.messages import (
    LAST,
    Broken,
    Died,
    Done,
    Failed,
    Kept,
    Message,
    Noted,
    Order,
    Progressed,
    Result,
)
from client_agent.errors import ResourceError
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import write_atomically

_STOP_SECONDS = 60.0
_TRIES = 2


class Crew(Protocol):
    """Workers, by number from 0; a number whose worker died can be given another order.

    Attributes:
        size: how many there are.
    """

    @property
    def size(self) -> int:
        """See above."""

    def begin(self, slot: int, order: bytes) -> None:
        """Give a worker that has none an order."""

    def messages(self) -> list[tuple[int, Message]]:
        """Return what workers have said; wait for it, but not for long.

        Raises:
            NetworkError: the whole crew is lost.
        """

    def stop(self) -> None:
        """Ask every job at work to stop."""

    def rest(self, slot: int) -> None:
        """There is no more work for this one."""

    def close(self) -> None:
        """End all of them."""


class WorkerBugError(RuntimeError):
    """A bug showed in a worker; the message is its traceback."""


def dispatch(jobs: Sequence[Job], crew: Crew, watcher: Watcher) -> Events:
    """Carry out jobs with a crew; as `Engine.run`."""
    runner = _Dispatch(jobs, crew, watcher)
    runner.thread.start()
    try:
        while (event := runner.events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        try:
            runner.stopping.set()
            runner.thread.join()
        finally:
            crew.close()


class _Dispatch:
    def __init__(self, jobs: Sequence[Job], crew: Crew, watcher: Watcher) -> None:
        self.events: SimpleQueue[Yielded | Ended | BaseException | None] = SimpleQueue()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._guarded, name="dispatch", daemon=True)
        self._crew, self._watcher = crew, watcher
        self._waiting = deque(jobs)
        self._free = deque(range(crew.size))
        self._running: dict[int, tuple[Job, Work]] = {}
        self._deaths: Counter[str] = Counter()

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.events.put(error)
        else:
            self.events.put(None)

    def _run(self) -> None:
        deadline: float | None = None
        while self._running or (self._waiting and not self.stopping.is_set()):
            if self.stopping.is_set() and deadline is None:
                deadline = time.monotonic() + _STOP_SECONDS
                self._crew.stop()
            if deadline is not None and time.monotonic() > deadline:
                return
            while self._waiting and self._free and not self.stopping.is_set():
                self._begin(self._waiting.popleft())
            for slot, message in self._crew.messages():
                self._take(slot, message)

    def _begin(self, job: Job) -> None:
        try:
            work = job.describe()
        except FederatedFactoryError as error:
            self.events.put(Ended(job, error))
            return
        name, kept = None, None
        if work.kept is not None:
            name = work.kept.name
            kept = work.kept.read_bytes() if work.kept.is_file() else None
        order = Order(job.function, work.description, name, kept)
        slot = self._free.popleft()
        self._running[slot] = job, Work(None, work.kept)
        self._watcher.started(job)
        self._crew.begin(slot, pickle.dumps(order, protocol=5))

    def _take(self, slot: int, message: Message) -> None:
        if slot not in self._running:  # a worker that was given up has said it
            return
        job, work = self._running[slot]
        match message:
            case Progressed(fraction, text):
                self._watcher.progressed(job, fraction, text)
            case Noted(text):
                self._watcher.noted(job, text)
            case Kept(data):
                assert work.kept is not None
                write_atomically(work.kept, data, mode=0o600)
            case Result(value):
                self.events.put(Yielded(job, value))
        if isinstance(message, LAST):
            del self._running[slot]
            self._free.append(slot)
            self._watcher.stopped(job, done=isinstance(message, Done))
            self._end(job, message)
            if not self._waiting:
                self._crew.rest(slot)

    def _end(self, job: Job, message: Message) -> None:
        match message:
            case Done():
                self.events.put(Ended(job, None))
            case Failed(error):
                self.events.put(Ended(job, error))
            case Broken(text):
                raise WorkerBugError(text)
            case Died(reason) if not self.stopping.is_set():
                self._deaths[job.name] += 1
                if self._deaths[job.name] < _TRIES:
                    self._watcher.noted(job, f"its worker died ({reason}); it is begun again")
                    self._waiting.appendleft(job)
                    return
                error = ResourceError(
                    f"its worker died twice ({reason})",
                    hint="memory may have run out: use fewer --workers, then run the same command "
                    "again",
                )
                self.events.put(Ended(job, error))
