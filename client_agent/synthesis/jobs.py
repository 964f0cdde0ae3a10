"""Missing shards as jobs of an engine: who makes which, and how far all of them have come."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from client_agent.engines.engine import Channel, Engine, Job, Work
from client_agent.sandbox.layers import note_missing
from client_agent.synthesis.shards import ShardStore, ShardWork, make_shards
from ff_protocol.manifest import MODULE_FILE

if TYPE_CHECKING:
    from client_agent.synthesis.dataset import Portion

SHARDS_PER_JOB = 32
"""Where several are at work: a job lasts long enough to be worth loading the module for."""


@dataclass(frozen=True, eq=False)
class ShardJob:
    """Some shards of one portion that are not there yet."""

    portion: "Portion"
    numbers: tuple[int, ...]
    job: Job


def shard_jobs(plan: "Sequence[Portion]", store: ShardStore, engine: Engine) -> dict[str, ShardJob]:
    """Divide what is missing into jobs, by name: a module each, or a part of one."""
    jobs = {}
    for portion in plan:
        missing = store.missing(portion.module.digest, portion.count)
        size = max(1, len(missing)) if engine.one_by_one else SHARDS_PER_JOB
        for begin in range(0, len(missing), size):
            numbers = missing[begin : begin + size]
            name = f"class {portion.module.card.class_name}, module {portion.module.digest[:12]}"
            if size < len(missing):
                name += f", shards {numbers[0]} to {numbers[-1]}"
            describe = _description(portion, store, numbers, shares_disk=engine.shares_disk)
            jobs[name] = ShardJob(portion, numbers, Job(name, sample_module, describe))
    return jobs


def _description(
    portion: "Portion", store: ShardStore, numbers: tuple[int, ...], *, shares_disk: bool
) -> Callable[[], Work]:
    digest, model = portion.module.digest, portion.module.model

    def describe() -> Work:
        # After a worker's death: what it had sent is there already.
        left = tuple(number for number in numbers if not store.path(digest, number).is_file())
        return Work(store.work(digest, model if shares_disk else model.read_bytes(), left))

    return describe


def sample_module(work: ShardWork, channel: Channel) -> Iterator[tuple[int, bytes]]:
    """Job: make shards; yields number and content of each."""
    if isinstance(work.model, bytes):
        path = channel.scratch / MODULE_FILE
        path.write_bytes(work.model)
        work = replace(work, model=path)
    done = 0

    def on_batch() -> None:
        nonlocal done
        done += 1
        channel.progress(done / work.batches)

    yield from make_shards(work, on_batch)
    note_missing(channel)


class SampleCount:
    """Watches jobs and counts the samples that they add.

    Args:
        jobs: by name.
        shard_samples: samples a shard.
        on_samples: called with portion and number when samples have been added.
        note: gets the jobs' remarks, each once.
    """

    def __init__(
        self,
        jobs: dict[str, ShardJob],
        shard_samples: int,
        on_samples: "Callable[[Portion, int], None]",
        note: Callable[[str], None],
    ) -> None:
        self._jobs, self._shard_samples = jobs, shard_samples
        self._on_samples, self._note = on_samples, note
        self._lock = threading.Lock()
        self._counted: dict[str, int] = {}
        self._said: set[str] = set()

    def started(self, job: Job) -> None:
        """See `engine.Watcher`."""

    def progressed(self, job: Job, fraction: float, text: str) -> None:
        """See `engine.Watcher`."""
        of = self._jobs[job.name]
        now = round(fraction * len(of.numbers) * self._shard_samples)
        with self._lock:
            added = now - self._counted.get(job.name, 0)
            if added > 0:  # not again what is made a second time
                self._counted[job.name] = now
                self._on_samples(of.portion, added)

    def noted(self, job: Job, text: str) -> None:
        """See `engine.Watcher`."""
        with self._lock:
            if text not in self._said:
                self._said.add(text)
                self._note(text)

    def stopped(self, job: Job, *, done: bool) -> None:
        """See `engine.Watcher`."""
