"""What the steps ask of an engine: carry out named, independent jobs and yield what they give.

A job is a generator function of a description, nothing else: it reads no home and writes none. The
process that owns the home describes the work and puts the results into their places, so that it
makes no difference to a byte where, beside what, or in which order jobs were carried out.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ff_protocol.errors import FederatedFactoryError


class Channel(Protocol):
    """What a job can reach while it is carried out.

    Attributes:
        kept: the file of `Work.kept`, or a private copy of it, to go on from and keep up to date.
        scratch: a private folder, gone when the job ends; on file systems in memory if possible.
    """

    @property
    def kept(self) -> Path | None:
        """See above."""

    @property
    def scratch(self) -> Path:
        """See above."""

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how much is done, 0 to 1; to be called where the job can be stopped.

        Raises:
            KeyboardInterrupt: the job shall end here.
        """

    def note(self, text: str) -> None:
        """Say one line."""


@dataclass(frozen=True, eq=False)
class Work:
    """What a job is to do.

    Attributes:
        description: anything that can be pickled.
        kept: file of the home from which the job goes on if it is carried out again. An engine
            that works elsewhere brings it there, and every new state of it back.
    """

    description: Any
    kept: Path | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work that depends on no other.

    Attributes:
        name: in words, unique among the jobs of a call.
        function: called with description and channel, yields results; a function of a module, so
            that it can be found by name elsewhere.
        describe: makes the work up when its turn has come, and again if it has to be redone. Runs
            in the process that owns the home.
    """

    name: str
    function: Callable[[Any, Channel], Iterator[Any]]
    describe: Callable[[], Work]


@dataclass(frozen=True, eq=False)
class Yielded:
    """A result of a job."""

    job: Job
    value: Any


@dataclass(frozen=True, eq=False)
class Ended:
    """The end of a job, with the fault for which it failed, if it did. Others go on."""

    job: Job
    error: FederatedFactoryError | None


class Watcher(Protocol):
    """Something that shows jobs; called from any thread."""

    def started(self, job: Job) -> None:
        """A job begins, or begins again."""

    def progressed(self, job: Job, fraction: float, text: str) -> None:
        """A job has come so far, 0 to 1."""

    def noted(self, job: Job, text: str) -> None:
        """A job has something to say."""

    def stopped(self, job: Job, *, done: bool) -> None:
        """A job is at work no more."""


Events = Generator[Yielded | Ended, None, None]
"""What an engine yields."""


class Engine(Protocol):
    """Something that carries out jobs.

    Attributes:
        threads: compute threads a job; None: as many as its libraries choose.
        one_by_one: jobs are carried out one after the other, in this process.
        shares_disk: jobs can read this machine's files.
    """

    @property
    def threads(self) -> int | None:
        """See above."""

    @property
    def one_by_one(self) -> bool:
        """See above."""

    @property
    def shares_disk(self) -> bool:
        """See above."""

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Events:
        """Carry out jobs; yield as they go. Closing the iterator stops what is at work.

        A job whose process dies is carried out once more, from what it had kept.

        Raises:
            NetworkError: the cluster was lost; what was kept is in the home.
            UsageError: an engine that is not installed or cannot be reached so.
            StorageError: what a job keeps cannot be written.
        """


@dataclass(frozen=True)
class EngineOptions:
    """What a user may say about where the work is done.

    Attributes:
        engine: processes of this machine, or a Ray cluster.
        workers: jobs at a time; None leaves it to client_agent/engines/placement.py.
        ray_address: HOST:PORT of a cluster's head, or `auto`; None takes the variable RAY_ADDRESS,
            and without that starts Ray on this machine while it is needed.
    """

    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    ray_address: str | None = None


LOCAL = EngineOptions()
