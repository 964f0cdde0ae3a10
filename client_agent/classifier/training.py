"""Train the classifier: the same data and settings give the same bits on the same kind of CPU.

Read `fit_classifier` from top to bottom. Nothing here looks at a clock to decide anything, at the
number of cores, or at anybody else's random state: threads are set and put back, every draw comes
from a generator keyed by (seed, purpose, epoch). The federated comparison arm
(client_agent/demo/baselines.py) trains through the same `train_epochs`.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client_agent.classifier.adversary import add_gradient
from client_agent.classifier.augmentation import batches
from client_agent.classifier.network import ClassifierNetwork, build_network
from client_agent.classifier.settings import ClassifierSettings
from client_agent.errors import DataError, TrainingError

_PROGRESS_EVERY_SECONDS = 0.25
_PREDICTION_BATCH = 256


@dataclass(frozen=True)
class ClassifierProgress:
    """How far training is.

    Attributes:
        epoch: passes begun, from 1.
        epochs: passes in all.
        step, steps: optimiser steps done, and in all.
        loss: mean training loss of the steps since the last report.
        fraction: share of the work done, 0 to 1.
        seconds: since training began.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    fraction: float
    seconds: float


@dataclass(frozen=True)
class FittedClassifier:
    """A trained classifier.

    Attributes:
        network: on the CPU, in evaluation mode.
        classes: the classes it knows, in the order of its outputs.
        image_size: height and width of its images in pixels.
        channels: 1 or 3.
        settings: what it was trained with.
        epochs, steps: work done.
        losses: mean training loss of each epoch.
        seconds: time spent training.
    """

    network: ClassifierNetwork
    classes: tuple[str, ...]
    image_size: int
    channels: int
    settings: ClassifierSettings
    epochs: int
    steps: int
    losses: tuple[float, ...]
    seconds: float

    @property
    def loss(self) -> float:
        """Mean training loss of the last epoch."""
        return self.losses[-1]


def fit_classifier(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    classes: tuple[str, ...],
    settings: ClassifierSettings,
    on_progress: Callable[[ClassifierProgress], None] | None = None,
) -> FittedClassifier:
    """Train on `images`.

    Args:
        images: uint8 [n, H, W, C], H == W in 8..256, C in {1, 3}.
        labels: int64 [n], indices into `classes`.
        classes: the classes to tell apart, at least two, each with at least one image. A class
            without images is left out by the caller.
        settings: network and recipe.
        on_progress: called a few times a second, between steps.

    Raises:
        DataError: images, labels and classes do not fit together.
        TrainingError: the loss is not finite.
    """
    check_training_set(images, labels, len(classes))
    if len(classes) < 2:
        raise DataError("a classifier tells at least two classes apart")
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        absent = ", ".join(name for name, n in zip(classes, counts, strict=True) if not n)
        raise DataError(f"no training image of {absent}")

    epochs, started = settings.epochs_for(len(images)), time.monotonic()
    with reproducible(settings.threads):
        network = build_network(settings, images.shape[1], images.shape[3], len(classes))
        schedule = Schedule(settings, epochs * settings.steps_per_epoch(len(images)))
        losses = train_epochs(
            network,
            images,
            labels,
            settings=settings,
            schedule=schedule,
            epochs=range(epochs),
            on_progress=on_progress,
        )
    return FittedClassifier(
        network=network.eval(),
        classes=tuple(classes),
        image_size=int(images.shape[1]),
        channels=int(images.shape[3]),
        settings=settings,
        epochs=epochs,
        steps=schedule.steps,
        losses=tuple(losses),
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class Schedule:
    """Step size over a run of `steps`: linear up to the peak, then a cosine down to 0."""

    settings: ClassifierSettings
    steps: int

    def learning_rate(self, step: int) -> float:
        """Return the step size of `step`, 0 <= step < steps."""
        peak, rise = self.settings.learning_rate, max(1.0, self.settings.warmup * self.steps)
        if step < rise:
            return peak * (step + 1) / (rise + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, self.steps - rise)))


def train_epochs(
    network: ClassifierNetwork,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    settings: ClassifierSettings,
    schedule: Schedule,
    epochs: range,
    stream: int = 0,
    on_progress: Callable[[ClassifierProgress], None] | None = None,
) -> list[float]:
    """Train `network` in place, with a fresh optimiser, on the passes numbered `epochs`.

    Args:
        network: what to train.
        images: uint8 [n, H, W, C].
        labels: int64 [n], indices of the network's outputs.
        settings: the recipe.
        schedule: step size over the whole run, of which `epochs` may be a part.
        epochs: numbers of the passes; they decide order, augmentation and step size.
        stream: tells the randomness of several trainers with one seed apart.
        on_progress: called a few times a second, between steps.

    Returns:
        the mean loss of each pass.

    Raises:
        TrainingError: the loss is not finite.
    """
    optimiser = _optimiser(network, settings)
    loss_function = nn.CrossEntropyLoss(
        weight=class_weights(labels, network.classes, settings.balance),
        label_smoothing=settings.label_smoothing,
    )
    per_epoch = settings.steps_per_epoch(len(images))
    report = _Reporter(on_progress, schedule.steps, epochs.stop)
    network.train()
    step, means = epochs.start * per_epoch, []
    for epoch in epochs:
        losses = []
        random = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([settings.seed, stream, epoch]))
        )
        for batch, truth in batches(images, labels, settings, random):
            optimiser.zero_grad(set_to_none=True)
            limit = settings.adversary_at(step)
            value = add_gradient(network, batch, truth, loss_function, limit)
            if not math.isfinite(value):
                raise TrainingError(
                    f"the classifier's loss is {value} at step {step + 1}",
                    hint=f"lower the learning rate (now {settings.learning_rate})",
                )
            for group in optimiser.param_groups:
                group["lr"] = schedule.learning_rate(min(step, schedule.steps - 1))
            optimiser.step()
            step += 1
            losses.append(value)
            report.after(epoch, step, value)
        means.append(float(np.mean(losses)))
    return means


def predict_network(
    network: ClassifierNetwork, images: NDArray[np.uint8], threads: int
) -> NDArray[np.float32]:
    """Return probabilities float32 [n, k] for `images`, uint8 [n, H, W, C], without exporting."""
    network.eval()
    with reproducible(threads), torch.inference_mode():
        parts = [
            torch.softmax(network(torch.from_numpy(images[start : start + _PREDICTION_BATCH])), 1)
            for start in range(0, len(images), _PREDICTION_BATCH)
        ]
    return torch.cat(parts).numpy()


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> Tensor:
    """Weigh classes by (1 / count)^balance, so that the mean weight of an image is 1.

    Returns:
        float32 [classes]; 0 where a class has no image.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    weights *= counts.sum() / (weights * counts).sum()
    return torch.from_numpy(weights.astype(np.float32))


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute with `threads` threads and deterministic algorithms; put the settings back after."""
    threads_before = torch.get_num_threads()
    strict_before = torch.are_deterministic_algorithms_enabled()
    warn_before = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict_before, warn_only=warn_before)
        torch.set_num_threads(threads_before)


def check_training_set(images: NDArray[np.uint8], labels: NDArray[np.int64], classes: int) -> None:
    """Raise DataError unless images and labels have the documented form and fit together."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise DataError(
            f"images are {images.dtype} {list(images.shape)}, expected uint8 [n, size, size, C]"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{len(images)} images, but labels {labels.dtype} {list(labels.shape)}")
    if len(images) < 2:
        raise DataError(f"{len(images)} image(s) are too few to train a classifier")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"labels run from {labels.min()} to {labels.max()} for {classes} classes")


def _optimiser(network: nn.Module, settings: ClassifierSettings) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [values for values in parameters if values.ndim > 1],
                "weight_decay": settings.weight_decay,
            },
            {"params": [values for values in parameters if values.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        fused=True,
    )


class _Reporter:
    """Calls back a few times a second and after the last step."""

    def __init__(
        self, callback: Callable[[ClassifierProgress], None] | None, steps: int, epochs: int
    ) -> None:
        self._callback, self._steps, self._epochs = callback, steps, epochs
        self._begun = self._reported = time.monotonic()
        self._losses: list[float] = []

    def after(self, epoch: int, step: int, loss: float) -> None:
        if self._callback is None:
            return
        self._losses.append(loss)
        now = time.monotonic()
        if now - self._reported < _PROGRESS_EVERY_SECONDS and step < self._steps:
            return
        mean = sum(self._losses) / len(self._losses)
        fraction = min(1.0, step / self._steps)
        self._callback(
            ClassifierProgress(
                epoch + 1, self._epochs, step, self._steps, mean, fraction, now - self._begun
            )
        )
        self._reported, self._losses = now, []
