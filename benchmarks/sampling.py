"""Sampling images/s: the exported module in onnxruntime against eager torch, same weights."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.images import one_class_sets
from client_agent.generator.presets import Preset, preset_for
from client_agent.generator.training import (
    Budget,
    TrainedGenerator,
    sample_torch,
    train_generator,
)
from client_agent.module.export import export_module
from client_agent.synthesis.noise import noise
from client_agent.synthesis.session import ModuleSession
from client_agent.synthesis.shards import SHARD_BATCHES
from ff_protocol.spec import FederationSpec, parse_spec

DIGEST = "0" * 64
"""Of a module that is no federation's: it only decides the noise."""


@dataclass(frozen=True)
class Row:
    """One data set at one thread count; the arms take turns, medians are reported."""

    images: str
    threads: int
    sampler_steps: int
    onnxruntime_images_per_second: float
    torch_images_per_second: float
    ratio: float
    module_bytes: int


def measure(*, quick: bool) -> list[Row]:
    """Sample shards in turns."""
    rows = []
    for chosen in one_class_sets()[: 1 if quick else None]:
        size, channels = chosen.images.shape[1], chosen.images.shape[3]
        preset = preset_for("tiny", size, channels)
        trained = train_generator(chosen.images, preset=preset, seed=0, budget=Budget(steps=3))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module.onnx"
            export_module(trained, path)
            for threads in (2, 1):
                rows.append(_compare(chosen.name, trained, path, threads, 3 if quick else 7))
    return rows


def _compare(name: str, trained: TrainedGenerator, path: Path, threads: int, rounds: int) -> Row:
    spec = spec_for(trained.preset, threads=threads)
    session = ModuleSession(path, DIGEST, spec, "benchmark")
    count = SHARD_BATCHES * session.batch_size
    batch = noise(1, 0, count, session.shape)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, eager = [], []
        for _ in range(rounds + 1):
            ours.append(_seconds(lambda: list(session.run_batches(range(SHARD_BATCHES)))))
            eager.append(_seconds(lambda: sample_torch(trained, batch)))
    finally:
        torch.set_num_threads(before)
    rate = count / statistics.median(ours[1:])
    eager_rate = count / statistics.median(eager[1:])
    return Row(
        name,
        threads,
        trained.preset.sampler_steps,
        rate,
        eager_rate,
        rate / eager_rate,
        path.stat().st_size,
    )


def spec_for(preset: Preset, **synthesis: Any) -> FederationSpec:
    """Return a spec of the preset's image shape that says `synthesis` of sampling."""
    return parse_spec(
        {
            "classes": ["a", "b"],
            "image": {"size": preset.image_size, "channels": preset.channels},
            "synthesis": synthesis,
        }
    )


def sampling_rate(session: ModuleSession, batches: int) -> float:
    """Return images/s of `batches` batches as synthesis runs them, after one that warms up."""
    session.run_batch(0)
    started = time.monotonic()
    for _ in session.run_batches(range(batches)):
        pass
    return batches * session.batch_size / (time.monotonic() - started)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
