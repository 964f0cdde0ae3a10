"""What the report says, as plain values: filled by `steps.report`, turned into a page by `page`.

Everything in here may appear on the page; the shareable edition is a content without real images,
without exact counts of the site's own images, and with nothing else left out.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from client_agent.classifier.curves import Calibration, Interval, Roc

Edition = Literal["local", "shareable"]
Light = Literal["green", "amber", "red", "grey"]


@dataclass(frozen=True)
class FigureRow:
    """One figure of a module's audit.

    Attributes:
        name: as in the card.
        room: `fidelity` or `memorisation`.
        value, low, high: the figure and its 95 % interval; `value` is None if a bound demands the
            figure and it was not measured.
        samples: bucket of the number of images that it rests on.
        bound: the site's bound in words, or "" if there is none.
        light: how the figure stands to its bound.
    """

    name: str
    room: str
    value: float | None
    low: float | None
    high: float | None
    samples: str
    bound: str
    light: Light


@dataclass(frozen=True)
class LearningCurve:
    """Losses while something was trained; `held_out` may be empty.

    Attributes:
        title: what was trained.
        unit: of `steps`: `step` or `pass`.
        steps: rising.
        losses: training loss at each step.
        held_out: (step, loss) on images left out of the training.
    """

    title: str
    unit: str
    steps: tuple[float, ...]
    losses: tuple[float, ...]
    held_out: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class ModuleEntry:
    """One module in use.

    Attributes:
        digest: its identity.
        own: made by this site.
        class_name, site: what it makes, and who made it.
        created_at: in UTC.
        generator: family, preset and number of weights.
        training_images: bucket.
        steps, seconds, device: of its training.
        bytes: of its files.
        samples: that it gives to the data set.
        root: Merkle root of those samples; None if they are in no classifier yet.
        signature: "" if the signature holds, else what is wrong.
        figures: of its audit.
        light: the worst of them.
        waiver: a person's reason to release it in spite of a failed figure, or "".
        privacy: its differential privacy guarantee in words, or "".
    """

    digest: str
    own: bool
    class_name: str
    site: str
    created_at: str
    generator: str
    training_images: str
    steps: int
    seconds: int
    device: str
    bytes: int
    samples: int
    root: str | None
    signature: str
    figures: tuple[FigureRow, ...]
    light: Light
    waiver: str
    privacy: str


@dataclass(frozen=True)
class ClassResult:
    """How well one class is recognised; None where the test set has no image of it."""

    name: str
    images: int
    recall: float | None
    recall_interval: Interval | None
    area: float | None
    area_interval: Interval | None
    known: bool


@dataclass(frozen=True)
class Results:
    """The classifier on labelled images.

    Attributes:
        images: how many.
        accuracy, accuracy_interval: with its 95 % interval.
        macro_auroc, macro_f1: means over the classes.
        classes: one entry a class of the federation.
        confusion: [true][predicted] counts.
        rocs: curves of the classes that have one.
        calibration: confidence against accuracy.
        flagged: share of the images flagged as unlike the training set.
        locally_calibrated: whether the site's own calibration is in use.
    """

    images: int
    accuracy: float
    accuracy_interval: Interval
    macro_auroc: float | None
    macro_f1: float
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    rocs: tuple[Roc, ...]
    calibration: Calibration
    flagged: float
    locally_calibrated: bool


@dataclass(frozen=True, eq=False)
class Sheet:
    """Images of one class.

    Attributes:
        class_name: its name.
        synthetic: uint8 [n, H, W, C]; n is 0 if nothing has been synthesised.
        real: uint8 [m, H, W, C], or None in the shareable edition and where there is no such image.
    """

    class_name: str
    synthetic: np.ndarray
    real: np.ndarray | None


@dataclass(frozen=True)
class CertificateEntry:
    """One unlearning certificate of this site.

    Attributes:
        name: of its file.
        problem: why it does not hold, or "".
        certified_at: in UTC.
        modules: digests that were forgotten.
        statements: digests of the revocations that ordered it.
        classifier_before, classifier_after: SHA-256, None if there was or is none.
        root_after: Merkle root of the data set that is left.
        classes_after: what the classifier knew then.
    """

    name: str
    problem: str
    certified_at: str = ""
    modules: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    classifier_before: str | None = None
    classifier_after: str | None = None
    root_after: str | None = None
    classes_after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """Everything on the page."""

    edition: Edition
    site: str
    federation: str
    federation_id: str
    created_at: str
    version: str
    classes: tuple[str, ...]
    known_classes: tuple[str, ...]
    classifier: str | None
    dataset_root: str | None
    samples: int
    up_to_date: bool
    modules: tuple[ModuleEntry, ...]
    curves: tuple[LearningCurve, ...]
    results: Results | None
    sheets: tuple[Sheet, ...]
    certificates: tuple[CertificateEntry, ...]
    bytes_sent: int
    record_entries: int
    record_whole: bool
    software: dict[str, Any]

    @property
    def missing_classes(self) -> tuple[str, ...]:
        """Classes of the federation that the classifier does not know."""
        return tuple(name for name in self.classes if name not in self.known_classes)

    @property
    def bytes_received(self) -> int:
        """Bytes of the foreign modules in use."""
        return sum(module.bytes for module in self.modules if not module.own)

    @property
    def real_images(self) -> int:
        """Number of real images on the page."""
        return sum(len(sheet.real) for sheet in self.sheets if sheet.real is not None)

    @property
    def light(self) -> Light:
        """The worst light of all modules."""
        return worst(tuple(module.light for module in self.modules))


def worst(lights: tuple[Light, ...]) -> Light:
    """Return the worst light: red, then grey (nothing is known), then amber, then green."""
    order: tuple[Light, ...] = ("red", "grey", "amber", "green")
    return next((light for light in order if light in lights), "grey")
