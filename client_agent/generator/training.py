"""The training loop of one class's generator: budgeted, resumable, and the same bits when resumed.

Read `train_generator` from top to bottom. Each step draws its randomness from (seed, step) alone,
so a run that was stopped and resumed under a budget of steps ends with the weights of one that was
never stopped (same machine, same thread count). Under a budget of seconds the learning rate follows
the clock, which no two runs share.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_agent.audit.hold_out import MIN_IMAGES_PER_CLASS
from client_agent.errors import DataError, ResourceError, UsageError
from client_agent.generator.checkpoint import load_checkpoint, run_fingerprint, save_checkpoint
from client_agent.generator.gaussian import ClassGaussian, fit_gaussian
from client_agent.generator.held_out import CurvePoint
from client_agent.generator.interrupts import stop_between_steps
from client_agent.generator.network import RawNetwork
from client_agent.generator.presets import Preset
from client_agent.generator.privacy import PrivacyPlan, PrivacyTarget, plan_privacy
from client_agent.generator.private_gaussian import fit_private_gaussian
from client_agent.generator.run import Run, step_seed
from client_agent.generator.sampler import preset_table, sample
from ff_protocol.card import PrivacyGuarantee

CHECKPOINT_EVERY_SECONDS = 60.0
_PROGRESS_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Budget:
    """When training ends: after `seconds` of training, or `steps`, whichever comes first.

    Time spent before an interruption counts. At least one must be given, above 0.
    """

    seconds: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        given = [limit for limit in (self.seconds, self.steps) if limit is not None]
        if not given or min(given) <= 0:
            raise UsageError(
                f"training budget of {self.seconds} s and {self.steps} steps",
                hint="give seconds, steps or both, above 0",
            )

    def fraction(self, step: int, seconds: float) -> float:
        """Return how much of the budget is used up, 0 to 1."""
        used = [0.0]
        if self.seconds is not None:
            used.append(seconds / self.seconds)
        if self.steps is not None:
            used.append(step / self.steps)
        return min(1.0, max(used))


@dataclass(frozen=True)
class TrainingProgress:
    """A moment of a run: what a progress bar shows.

    Attributes:
        step: steps done, over all resumed parts.
        loss: smoothed denoising loss; about 1 before training.
        images_per_second: training images a second since the last report.
        seconds_elapsed: training time, over all resumed parts.
        seconds_left: estimate of the time left.
        fraction: share of the budget used, 0 to 1.
    """

    step: int
    loss: float
    images_per_second: float
    seconds_elapsed: float
    seconds_left: float
    fraction: float


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A trained class, in memory.

    Attributes:
        preset: the recipe.
        network: F with the averaged weights, rounded to half precision as a module stores them,
            float32 on the processor, in eval mode.
        gaussian: of the training images, on the processor.
        steps: training steps behind the weights.
        seconds: training time in seconds.
        loss: smoothed loss at that step.
        device: "cpu" or the GPU's name.
        notices: remarks for the user, such as a checkpoint that was passed over.
        curve: losses on the way.
        stopped_at: step at which training ended before its budget because the generator had begun
            to memorise; None if it did not.
        guarantee: differential privacy of network and Gaussian, if they were trained so.
    """

    preset: Preset
    network: RawNetwork
    gaussian: ClassGaussian
    steps: int
    seconds: float
    loss: float
    device: str
    notices: tuple[str, ...]
    curve: tuple[CurvePoint, ...] = ()
    stopped_at: int | None = None
    guarantee: PrivacyGuarantee | None = None


def train_generator(
    images: NDArray[np.uint8],
    *,
    preset: Preset,
    seed: int,
    budget: Budget,
    held_out: NDArray[np.uint8] | None = None,
    most_membership: float | None = None,
    checkpoint: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    privacy: PrivacyTarget | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    checkpoint_every_seconds: float = CHECKPOINT_EVERY_SECONDS,
) -> TrainedGenerator:
    """Train the generator of one class.

    With `held_out` the weights returned are the best ones on those images, and training ends before
    its budget once it memorises (client_agent/generator/held_out.py).

    Args:
        images: uint8 [n, H, W, C], H == W == preset.image_size, C == preset.channels.
        preset: network and recipe.
        seed: decides initial weights, batches and noise.
        budget: when to stop.
        held_out: images of the class that are not trained on, uint8 [m, H, W, C], m >= 1.
        most_membership: how well an attack may tell both apart, as the lower bound of its AUC;
            None: only the held-out loss counts.
        checkpoint: file to resume from and to keep up to date; a finished run's file makes the
            next call return at once, and a larger budget carries on from it.
        device: "cpu", "cuda" or "auto" (the GPU where there is one).
        threads: processor threads for torch, process-wide; None leaves them as they are.
        privacy: train with differential privacy; the budget must then be in steps, and the noise
            comes from a secret of this run instead of `seed`.
        on_progress: called a few times a second, between steps.
        checkpoint_every_seconds: how much work a crash may cost.

    Raises:
        DataError: too few images, or images that do not fit the preset.
        TrainingError: the loss is not finite; the last good checkpoint stays.
        ResourceError: out of GPU memory.
        StorageError: the checkpoint cannot be written.
        UsageError: the device is not there.
        KeyboardInterrupt: passed on, after a checkpoint was written.
    """
    _check_images(images, held_out, preset)
    if threads is not None:
        torch.set_num_threads(threads)
    place = _choose_device(device)
    data = _tensor(images)
    plan = _plan(privacy, len(images), budget)

    fingerprint = run_fingerprint(preset, seed, images, held_out, most_membership, plan)
    notices: list[str] = []
    state = None
    if checkpoint is not None:
        state, reason = load_checkpoint(checkpoint, fingerprint)
        notices += [reason] if reason else []
    if plan is None:
        gaussian, draws = fit_gaussian(data, start=preset.sigma_max), seed
    else:
        # Whoever knows a seed can take its noise away, so this one is drawn and never told.
        draws = secrets.randbits(128) if state is None else int(state["seed"], 16)
        gaussian = fit_private_gaussian(data, plan, draws)

    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(step_seed(seed, 0))
        # To stop when held-out images say so would be a look at images that no noise hides.
        parts = None if held_out is None or plan is not None else (data, _tensor(held_out))
        run = Run(preset, place, gaussian, draws, parts, most_membership, plan)
        if state is not None:
            run.restore(state)
        try:
            with stop_between_steps() as interrupted:
                _loop(
                    run, data, budget, fingerprint, checkpoint, checkpoint_every_seconds,
                    on_progress, interrupted,
                )  # fmt: skip
        finally:
            run.gradients.close()
    return TrainedGenerator(
        preset=preset,
        network=_rounded(run.finish()),
        gaussian=gaussian,
        steps=run.kept.step,
        seconds=run.seconds,
        loss=run.kept.loss,
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        notices=tuple(notices),
        curve=tuple(run.curve),
        stopped_at=run.step if run.memorises else None,
        guarantee=plan.guarantee() if plan is not None else None,
    )


def sample_torch(
    trained: TrainedGenerator, noise: NDArray[np.float32], device: str = "cpu"
) -> NDArray[np.float32]:
    """Sample with torch: the reference that the exported module is compared with.

    Args:
        trained: the generator.
        noise: unit normal, float32 [n, C, H, W].
        device: where to compute.

    Returns:
        float32 [n, C, H, W] in [0, 1].
    """
    table = preset_table(trained.preset, trained.gaussian)
    start = torch.from_numpy(noise).to(device)
    network = trained.network.to(device)
    images = sample(network, table, trained.gaussian.to(device), start)
    trained.network.cpu()
    return images.cpu().numpy()


def _loop(
    run: Run,
    data: Tensor,
    budget: Budget,
    fingerprint: str,
    checkpoint: Path | None,
    checkpoint_every_seconds: float,
    on_progress: Callable[[TrainingProgress], None] | None,
    interrupted: threading.Event,
) -> None:
    """Step until the budget is used up, reporting and saving on the way."""
    begun = time.monotonic() - run.seconds
    saved_at = reported_at = run.seconds
    saved, reported_step = (run.step, len(run.curve)), run.step

    def save() -> None:
        nonlocal saved_at, saved
        run.check_finite()
        now = (run.step, len(run.curve))
        if checkpoint is not None and now != saved:
            save_checkpoint(checkpoint, run.state(fingerprint))
            saved_at, saved = run.seconds, now

    def report(fraction: float) -> None:
        nonlocal reported_at, reported_step
        if on_progress is not None:
            images = (run.step - reported_step) * run.preset.batch_size
            rate = images / max(run.seconds - reported_at, 1e-9)
            left = run.seconds * (1 - fraction) / fraction if fraction > 0 else 0.0
            on_progress(TrainingProgress(run.step, run.loss, rate, run.seconds, left, fraction))
        reported_at, reported_step = run.seconds, run.step

    def evaluate() -> None:
        run.evaluate()
        run.seconds = time.monotonic() - begun

    try:
        while (fraction := budget.fraction(run.step, run.seconds)) < 1.0:
            if run.memorises:
                break
            run.take_step(data, fraction)
            run.seconds = time.monotonic() - begun
            # By steps, not by the clock: the same points, and the same end, after any interruption.
            if run.step % run.interval == 0:
                evaluate()
            if interrupted.is_set():
                raise KeyboardInterrupt
            if run.seconds - reported_at >= _PROGRESS_EVERY_SECONDS:
                report(budget.fraction(run.step, run.seconds))
            if run.seconds - saved_at >= checkpoint_every_seconds:
                save()
        if not run.curve or run.curve[-1].step != run.step:
            evaluate()
        save()
        report(1.0)
    except KeyboardInterrupt:
        save()
        raise
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"the GPU ran out of memory at step {run.step + 1} (batch {run.preset.batch_size})",
            hint="choose a smaller preset or image size, or run with the device set to cpu",
        ) from error


def _plan(privacy: PrivacyTarget | None, images: int, budget: Budget) -> PrivacyPlan | None:
    if privacy is None:
        return None
    if budget.steps is None or budget.seconds is not None:
        raise UsageError(
            "private training takes a number of steps, not a time: its noise depends on them",
            hint="give --steps and no --budget",
        )
    return plan_privacy(privacy, images, budget.steps)


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    """Return uint8 [n, C, H, W]."""
    return torch.tensor(images).permute(0, 3, 1, 2)


def _check_images(
    images: NDArray[np.uint8], held_out: NDArray[np.uint8] | None, preset: Preset
) -> None:
    shape = (preset.image_size, preset.image_size, preset.channels)
    for part in (images,) if held_out is None else (images, held_out):
        if part.dtype != np.uint8 or part.ndim != 4 or part.shape[1:] != shape or not len(part):
            raise DataError(
                f"images are {part.dtype} {list(part.shape)}, expected uint8 [n, "
                f"{', '.join(map(str, shape))}]",
                hint="prepare the images with the federation's size and channels",
            )
    if len(images) < MIN_IMAGES_PER_CLASS:
        raise DataError(
            f"{len(images)} images are too few to train a generator",
            hint=f"a class needs at least {MIN_IMAGES_PER_CLASS} images",
        )


def _choose_device(device: str) -> torch.device:
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {device!r} is unknown", hint="choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is usable", hint="run with the device set to cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@torch.no_grad()
def _rounded(network: RawNetwork) -> RawNetwork:
    for values in network.parameters():
        values.copy_(values.half())
    return network
