"""Training images/s of preset `tiny`, and its share of the machine's measured matrix rates."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.images import one_class_sets
from client_agent.generator.gaussian import fit_gaussian
from client_agent.generator.presets import Preset, preset_for
from client_agent.generator.run import Run
from client_agent.generator.training import Budget, TrainingProgress, train_generator

_MATRIX = 1024


@dataclass(frozen=True)
class Row:
    """One data set. Rates are in units of 1e9 floating-point operations per second."""

    images: str
    images_per_second: float
    training_gflops: float
    fp32_matrix_gflops: float
    bf16_matrix_gflops: float
    share_of_fp32: float
    share_of_bf16: float


def measure(*, quick: bool) -> list[Row]:
    """Train for 20 s (2 s if quick) on each set with all cores; the first second is left out."""
    torch.set_num_threads(torch.get_num_threads())
    fp32, bf16 = (_matrix_rate(kind, quick=quick) for kind in (torch.float32, torch.bfloat16))
    rows = []
    for chosen in one_class_sets()[: 1 if quick else None]:
        size, channels = chosen.images.shape[1], chosen.images.shape[3]
        preset = preset_for("tiny", size, channels)
        rate = _images_per_second(chosen.images, preset, seconds=3.0 if quick else 20.0)
        gflops = rate * _step_flops(chosen.images, preset) / preset.batch_size / 1e9
        rows.append(Row(chosen.name, rate, gflops, fp32, bf16, gflops / fp32, gflops / bf16))
    return rows


def _images_per_second(images: np.ndarray, preset: Preset, seconds: float) -> float:
    seen: list[TrainingProgress] = []
    train_generator(
        images, preset=preset, seed=0, budget=Budget(seconds=seconds), on_progress=seen.append
    )
    settled = [now for now in seen if now.seconds_elapsed > 1.0]
    first, last = settled[0], settled[-1]
    return (
        (last.step - first.step)
        * preset.batch_size
        / (last.seconds_elapsed - first.seconds_elapsed)
    )


def _step_flops(images: np.ndarray, preset: Preset) -> int:
    data = torch.tensor(images).permute(0, 3, 1, 2)
    run = Run(preset, torch.device("cpu"), fit_gaussian(data), seed=0)
    with FlopCounterMode(display=False) as counter:
        run.take_step(data, 0.0)
    return int(counter.get_total_flops())


def _matrix_rate(kind: torch.dtype, *, quick: bool) -> float:
    left, right = (torch.randn(_MATRIX, _MATRIX).to(kind) for _ in range(2))
    best = 0.0
    for _ in range(3 if quick else 12):
        started = time.perf_counter()
        left @ right
        best = max(best, 2 * _MATRIX**3 / (time.perf_counter() - started) / 1e9)
    return best
