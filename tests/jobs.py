"""Jobs for engines that need no numerical library: they do to their workers what machines do."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from client_agent.engines.engine import Channel, Job, Work
from client_agent.errors import TrainingError


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.started_jobs: list[str] = []
        self.notes: list[str] = []
        self.fractions: list[float] = []

    def started(self, job: Job) -> None:
        self.started_jobs.append(job.name)

    def progressed(self, job: Job, fraction: float, text: str) -> None:
        self.fractions.append(fraction)

    def noted(self, job: Job, text: str) -> None:
        self.notes.append(f"{job.name}: {text}")

    def stopped(self, job: Job, *, done: bool) -> None:
        pass


def job(name: str, function, description=None, kept: Path | None = None) -> Job:
    return Job(name, function, lambda: Work(description, kept))


def outcome(events) -> dict:
    """Job name -> values that it yielded, or its fault."""
    found: dict = {}
    for event in events:
        if hasattr(event, "value"):
            found.setdefault(event.job.name, []).append(event.value)
        elif event.error is not None:
            found[event.job.name] = event.error
    return found


def squares(count: int, channel: Channel) -> Iterator[int]:
    channel.note(f"up to {count}")
    for number in range(count):
        yield number * number
        channel.progress((number + 1) / count)


def where(_: object, channel: Channel) -> Iterator[tuple[int, dict[str, str], str]]:
    yield os.getpid(), dict(os.environ), str(channel.scratch)


def halfway(_: object, channel: Channel) -> Iterator[bytes]:
    """Keep a half, then be killed; the second time go on from it."""
    assert channel.kept is not None
    if not channel.kept.exists():
        channel.kept.write_bytes(b"first half, ")
        channel.progress(0.5)
        time.sleep(0.5)  # what has been said must have left the process
        os.kill(os.getpid(), signal.SIGKILL)
    yield channel.kept.read_bytes() + b"second half"


def doomed(_: object, channel: Channel) -> Iterator[None]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def unsound(_: object, channel: Channel) -> Iterator[None]:
    raise TrainingError("the loss is nan", hint="lower it")
    yield


def faulty(_: object, channel: Channel) -> Iterator[None]:
    raise ZeroDivisionError("a bug of ours")
    yield


def endless(_: object, channel: Channel) -> Iterator[None]:
    """Keep a number that grows until stopped."""
    assert channel.kept is not None
    step = int(channel.kept.read_bytes()) if channel.kept.exists() else 0
    try:
        while True:
            step += 1
            channel.progress(0.5)
            time.sleep(0.05)
    finally:
        new = channel.kept.with_name("new")
        new.write_bytes(str(step).encode())
        new.replace(channel.kept)
    yield
