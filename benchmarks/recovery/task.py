"""What an arm is given and what it gives back. The test images are not among it.

An arm learns from `Task` and returns `Learnt`: functions from images to probabilities. Only
`contest` applies them to the images that are reported on, once, after everything has been chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recovery.budget import DEFAULT_RULE, BudgetRule
from benchmarks.recovery.data import Labelled
from client_agent.classifier.settings import ClassifierSettings
from client_agent.progress import SILENT, Progress

Probabilities = NDArray[np.float32]
Predictor = Callable[[NDArray[np.uint8]], Probabilities]
"""uint8 [n, H, W, C] to float32 [n, K] over all K classes; 0 for a class that it does not know."""


@dataclass(frozen=True)
class Task:
    """One learning problem.

    Attributes:
        classes: all K names.
        sites: the training images of each site; labels index `classes`.
        validation: for every choice; held by nobody's training.
        settings: the classifier's recipe, with the run's seed.
        seconds: wall time that the whole federation may take, sites in turn.
        seed: of everything random.
        training_rate: images/s at which the classifier trains here, as measured.
        work: folder for what is kept between arms (modules, shards).
        rule: how seconds are divided.
        preset: the generators' preset.
        device: where generators are trained: cpu, cuda or auto.
        rounds: communication rounds of the averaging arms; None takes what the time allows.
        progress: watches.
    """

    classes: tuple[str, ...]
    sites: tuple[Labelled, ...]
    validation: Labelled
    settings: ClassifierSettings
    seconds: float
    seed: int
    training_rate: float
    work: Path
    rule: BudgetRule = DEFAULT_RULE
    preset: str = "tiny"
    device: str = "cpu"
    rounds: int | None = None
    progress: Progress = SILENT

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.sites[0].images.shape[1])

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.sites[0].images.shape[3])

    def images_of(self, site: int, label: int) -> NDArray[np.uint8]:
        """Return a site's training images of one class, uint8 [n, H, W, C]."""
        held = self.sites[site]
        return held.images[held.labels == label]

    def holdings(self) -> tuple[tuple[int, int], ...]:
        """Return (site, label) for every class that a site has an image of, in order."""
        return tuple(
            (number, int(label))
            for number, site in enumerate(self.sites)
            for label in np.unique(site.labels)
        )


@dataclass(frozen=True)
class Learnt:
    """What an arm ends with.

    Attributes:
        predictors: one common classifier, or one a site, whose figures are then averaged.
        bytes_per_site: payload that one site sends and receives.
        rounds: communication rounds.
        earlier_seconds: wall time of work that another arm left in the work folder.
        earlier_cpu_seconds: the same in processor seconds.
        details: choices made and their reasons, as JSON values.
    """

    predictors: tuple[Predictor, ...]
    bytes_per_site: int = 0
    rounds: int = 0
    earlier_seconds: float = 0.0
    earlier_cpu_seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


Arm = Callable[[Task], Learnt]
