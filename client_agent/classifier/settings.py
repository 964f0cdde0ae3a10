"""Every number of the classifier in one table: size of network, training recipe, amount of work.

The federation spec names a preset and a seed; here they become `ClassifierSettings`, which is all
that training depends on besides the data. The amount of work follows from the number of images
alone, never from a clock: two sites with the same data must end with the same bits. No other
module of the classifier holds a tuned constant.
"""

import math
from dataclasses import dataclass, replace

from client_agent.errors import UsageError
from ff_protocol.spec import ClassifierSpec

SMALLEST_IMAGE = 8
LARGEST_IMAGE = 256
RECIPE = 3
"""Raised with every change after which the same data and spec give other bits: of a number below,
or of what training does. Part of the reproducibility class, so that a classifier of an earlier
recipe is made anew and a certificate about one says so."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Architecture and recipe of one classifier.

    Attributes:
        preset: the table row it came from.
        widths: channels of the four stages of the residual network.
        blocks: residual blocks of each stage.
        epochs: passes over the training set; None takes `epochs_for`'s rule.
        presentations: images shown in all when `epochs` is None, as far as the bounds allow.
        min_epochs: lower bound of that rule, for large sets.
        max_epochs: upper bound of that rule, for small sets.
        max_steps: cap on the optimiser's steps when `epochs` is None; stronger than `min_epochs`.
        batch_size: images a step.
        learning_rate: peak of AdamW's step size.
        warmup: share of the steps over which the step size rises to its peak; it then falls along
            a cosine to 0 (one cycle, arXiv 1708.07120).
        weight_decay: AdamW's decoupled weight decay; convolutions and the last layer only.
        label_smoothing: share of the target spread over all classes (arXiv 1512.00567, section 7).
        shift: largest random translation in pixels per 8 pixels of image size.
        contrast: largest relative change of contrast about an image's channel means.
        brightness: largest change of brightness, as a share of the range of pixels.
        colour: largest relative change of one colour channel against the others.
        adversary: most that a pixel is changed against the network in training, in grey levels of
            255 (`adversary.py`); 0 for not at all.
        adversary_every: it sees every so many steps, each of which takes twice the time.
        balance: exponent of the class weights in the loss: 0 treats all images alike, 1 all
            classes.
        seed: initial weights, order of images, augmentation.
        threads: compute threads of torch, fixed whatever the machine has.
    """

    preset: str = "small"
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    epochs: int | None = None
    presentations: int = 250_000
    min_epochs: int = 4
    max_epochs: int = 40
    max_steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 4e-3
    warmup: float = 0.2
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    shift: float = 1.0
    contrast: float = 0.35
    brightness: float = 0.09
    colour: float = 0.1
    adversary: float = 1.0
    adversary_every: int = 2
    balance: float = 1.0
    seed: int = 0
    threads: int = 2

    def batch_for(self, images: int) -> int:
        """Return the batch size for a training set of `images`: no larger than the set."""
        return min(self.batch_size, images)

    def steps_per_epoch(self, images: int) -> int:
        """Return the whole batches in one pass; what is left over is another part each time."""
        return images // self.batch_for(images)

    def epochs_for(self, images: int) -> int:
        """Return the number of passes over a training set of `images`; depends on nothing else."""
        if self.epochs is not None:
            return self.epochs
        wanted = math.ceil(self.presentations / images)
        bounded = min(max(wanted, self.min_epochs), self.max_epochs)
        return max(1, min(bounded, self.max_steps // self.steps_per_epoch(images)))

    def adversary_at(self, step: int) -> float:
        """Return how far the adversary may change a pixel in this step, in grey levels of 255."""
        return 0.0 if step % self.adversary_every else self.adversary

    def max_shift(self, image_size: int) -> int:
        """Return the largest random translation in pixels for images of `image_size`."""
        return int(self.shift * image_size / 8)


PRESETS: dict[str, ClassifierSettings] = {
    "small": ClassifierSettings(),
    "medium": ClassifierSettings(
        preset="medium",
        widths=(32, 64, 128, 256),
        blocks=(2, 2, 2, 2),
        presentations=480_000,
        learning_rate=2e-3,
    ),
}


def settings_for(spec: ClassifierSpec) -> ClassifierSettings:
    """Return the settings that a federation spec's classifier section names.

    Raises:
        UsageError: the preset is unknown.
    """
    if spec.preset not in PRESETS:
        raise UsageError(
            f"classifier preset {spec.preset!r} is unknown",
            hint=f"choose one of {', '.join(PRESETS)}",
        )
    return replace(PRESETS[spec.preset], epochs=spec.epochs, seed=spec.seed, threads=spec.threads)
