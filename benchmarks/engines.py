"""The Ray engine against the local engine: two classes at once, and the shards of their modules.

Both do the same work with the same number of workers, and must give the same bytes. They take
turns. CPU seconds are those of every process that an engine has, Ray's own included: on a machine
that does other things as well they say more than the clock.
"""

import hashlib
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.images import OneClass, one_class_sets
from client_agent.engines.engine import Engine, Job, Work, Yielded
from client_agent.engines.local import LocalEngine
from client_agent.engines.placement import Slot
from client_agent.engines.ray import RayEngine
from client_agent.generator.presets import preset_for
from client_agent.generator.training import Budget, train_generator
from client_agent.module.export import export_module
from client_agent.steps.train_job import ClassWork, Training, train_class
from client_agent.synthesis.jobs import sample_module
from client_agent.synthesis.shards import ShardStore
from ff_protocol.spec import FederationSpec, parse_spec

_WORKERS = 2
_DIGEST = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Row:
    """One kind of work; medians of seconds from the first job's start to the last one's end.

    Attributes:
        start_seconds, start_cpu_seconds: Ray's own start, before that.
    """

    work: str
    rounds: int
    local_seconds: float
    ray_seconds: float
    ratio: float
    local_cpu_seconds: float
    ray_cpu_seconds: float
    cpu_ratio: float
    start_seconds: float
    start_cpu_seconds: float
    same_bytes: bool


@dataclass(frozen=True)
class _Run:
    start: float
    start_cpu: float
    seconds: float
    cpu: float
    digest: str


def measure(*, quick: bool) -> list[Row]:
    """Let the engines take turns."""
    # The first set is the smallest; the last one takes as long as a hospital's images do.
    chosen = one_class_sets()[0 if quick else -1]
    rounds = 1 if quick else 3
    steps, shards = (10, 4) if quick else (300, 24)
    with tempfile.TemporaryDirectory() as folder:
        training = [_training(chosen, seed, steps) for seed in range(_WORKERS)]
        rows = [_compare(f"{_WORKERS} classes, {steps} steps, {chosen.name}", training, rounds)]
        model, spec = _module(chosen, Path(folder) / "module.onnx")
        store = ShardStore(Path(folder) / "shards", spec, "benchmark")
        sampling = [_sampling(store, model, part, shards) for part in range(_WORKERS)]
        count = _WORKERS * shards * store.shard_samples
        rows.append(_compare(f"{count} samples, {chosen.name}", sampling, rounds))
    return rows


def _training(chosen: OneClass, seed: int, steps: int) -> Job:
    work = ClassWork(
        images=chosen.images,
        held_out=None,
        most_membership=None,
        preset=preset_for("tiny", chosen.images.shape[1], chosen.images.shape[3]),
        budget=Budget(steps=steps),
        privacy=None,
        seed=seed,
        device="cpu",
        threads=1,
    )
    return Job(f"class {seed}", train_class, lambda: Work(work))


def _module(chosen: OneClass, path: Path) -> tuple[bytes, FederationSpec]:
    size, channels = chosen.images.shape[1], chosen.images.shape[3]
    trained = train_generator(
        chosen.images, preset=preset_for("tiny", size, channels), seed=0, budget=Budget(steps=3)
    )
    export_module(trained, path)
    spec = {
        "classes": ["a", "b"],
        "image": {"size": size, "channels": channels},
        "synthesis": {"threads": 1},
    }
    return path.read_bytes(), parse_spec(spec)


def _sampling(store: ShardStore, model: bytes, part: int, shards: int) -> Job:
    numbers = tuple(range(part * shards, (part + 1) * shards))
    work = store.work(_DIGEST, model, numbers)
    return Job(f"part {part}", sample_module, lambda: Work(work))


def _compare(name: str, jobs: Sequence[Job], rounds: int) -> Row:
    local, ray = [], []
    for turn in range(rounds):
        arms = [(local, LocalEngine((Slot(1),) * _WORKERS)), (ray, _ray())]
        for runs, engine in arms if turn % 2 == 0 else reversed(arms):
            runs.append(_timed(engine, jobs))
    of = {
        field: [statistics.median(getattr(run, field) for run in runs) for runs in (local, ray)]
        for field in ("seconds", "cpu", "start", "start_cpu")
    }
    return Row(
        work=name,
        rounds=rounds,
        local_seconds=of["seconds"][0],
        ray_seconds=of["seconds"][1],
        ratio=of["seconds"][1] / of["seconds"][0],
        local_cpu_seconds=of["cpu"][0],
        ray_cpu_seconds=of["cpu"][1],
        cpu_ratio=of["cpu"][1] / of["cpu"][0],
        start_seconds=of["start"][1],
        start_cpu_seconds=of["start_cpu"][1],
        same_bytes=len({run.digest for run in (*local, *ray)}) == 1,
    )


def _ray() -> Engine:
    return RayEngine(None, 1, "cpu", _WORKERS, _WORKERS, 0)


def _timed(engine: Engine, jobs: Sequence[Job]) -> _Run:
    clock = _Clock()
    results: dict[str, str] = {}
    with closing(engine.run(jobs, clock)) as events:
        for event in events:
            if isinstance(event, Yielded):
                results[f"{event.job.name} {len(results)}"] = _digest(event.value)
            elif event.error is not None:
                raise event.error
            # Before the engine's processes go, and their times with them.
            end = clock.now()
    assert clock.first is not None
    digest = hashlib.sha256(repr(sorted(results.values())).encode()).hexdigest()
    return _Run(
        start=clock.first[0] - clock.begun[0],
        start_cpu=clock.first[1] - clock.begun[1],
        seconds=end[0] - clock.first[0],
        cpu=end[1] - clock.first[1],
        digest=digest,
    )


class _Clock:
    """Watches jobs: wall and CPU seconds of this process and all that it has started."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._seen: dict[psutil.Process, float] = {}
        self.begun = self.now()
        self.first: tuple[float, float] | None = None

    def now(self) -> tuple[float, float]:
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            self._seen[process] = times.user + times.system
        return time.perf_counter(), sum(self._seen.values())

    def started(self, job: Job) -> None:
        self.first = self.first or self.now()

    def progressed(self, job: Job, fraction: float, text: str) -> None:
        if fraction >= 1:
            self.now()

    def noted(self, job: Job, text: str) -> None:
        pass

    def stopped(self, job: Job, *, done: bool) -> None:
        pass


def _digest(value: Training | tuple[int, bytes]) -> str:
    if isinstance(value, Training):
        buffer = io.BytesIO()
        for name, weights in value.trained.network.state_dict().items():
            buffer.write(name.encode())
            buffer.write(np.ascontiguousarray(weights.to(torch.float32).numpy()).tobytes())
        return hashlib.sha256(buffer.getvalue()).hexdigest()
    number, shard = value
    return f"{number} {hashlib.sha256(shard).hexdigest()}"
