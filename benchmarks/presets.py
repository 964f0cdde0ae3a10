"""What each generator preset costs at the image size that it was made for.

Training and sampling do the same arithmetic whatever the images show, so one class scaled to the
preset's size is enough.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.images import one_class_sets
from benchmarks.sampling import DIGEST, sampling_rate, spec_for
from client_agent.demo.federation import peak_memory
from client_agent.generator.presets import preset_for
from client_agent.generator.training import Budget, TrainingProgress, train_generator
from client_agent.module.export import export_module
from client_agent.preparation.prepare import prepare
from client_agent.synthesis.session import ModuleSession

CHANNELS = 3
IMAGES = 640


@dataclass(frozen=True)
class Case:
    """How much of a preset is measured: a fraction of a minute, or of a few for the largest."""

    preset: str
    image_size: int
    steps: int
    batch_size: int
    batches: int


CASES = (
    Case("tiny", 28, steps=200, batch_size=32, batches=16),
    Case("small", 64, steps=12, batch_size=16, batches=4),
    Case("large", 128, steps=3, batch_size=2, batches=2),
)


@dataclass(frozen=True)
class Row:
    """One preset on this machine's processor, all cores.

    `gib_resident` is the training process's peak so far; cases run from the smallest to the
    largest.
    """

    preset: str
    image: str
    million_weights: float
    module_mb: float
    batch: int
    seconds_a_step: float
    gib_resident: float
    sampler_steps: int
    samples_per_second: float


def measure(*, quick: bool) -> list[Row]:
    """Train and sample each preset (with `quick` the first alone, a few steps)."""
    return [_measure(case, 3 if quick else case.steps) for case in CASES[: 1 if quick else None]]


def _measure(case: Case, steps: int) -> Row:
    preset = preset_for(case.preset, case.image_size, CHANNELS)
    seen: list[TrainingProgress] = []
    trained = train_generator(
        _images(case.image_size), preset=preset, seed=0, budget=Budget(steps=steps),
        device="cpu", on_progress=seen.append,
    )  # fmt: skip
    resident = (peak_memory(os.getpid()) or 0) / 2**30
    spec = spec_for(preset, batch_size=case.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        export_module(trained, path)
        with ModuleSession(path, DIGEST, spec, "benchmark") as session:
            rate = sampling_rate(session, case.batches)
        return Row(
            preset=preset.name,
            image=f"{preset.image_size} px RGB",
            million_weights=sum(p.numel() for p in trained.network.parameters()) / 1e6,
            module_mb=path.stat().st_size / 1e6,
            batch=preset.batch_size,
            seconds_a_step=_seconds_a_step(seen),
            gib_resident=resident,
            sampler_steps=preset.sampler_steps,
            samples_per_second=rate,
        )


def _images(size: int) -> np.ndarray:
    """One class in colour at `size` pixels, uint8 [n, size, size, 3]."""
    found = one_class_sets()[-1].images[:IMAGES]
    return np.stack([prepare(image, image_size=size, channels=CHANNELS) for image in found])


def _seconds_a_step(seen: list[TrainingProgress]) -> float:
    """Leave out what came before the first report: torch warms up in the first step."""
    first, last = seen[0], seen[-1]
    if last.step == first.step:
        return last.seconds_elapsed / last.step
    return (last.seconds_elapsed - first.seconds_elapsed) / (last.step - first.step)
