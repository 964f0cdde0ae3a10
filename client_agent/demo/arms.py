"""The arms that the federation is compared with, on the same DICOM files and preparation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client_agent.demo.datasets import DemoData
from client_agent.demo.layout import Hospital
from client_agent.progress import Progress
from ff_protocol.spec import ClassifierSpec

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages


@dataclass(frozen=True)
class Arm:
    """What one way of learning reached.

    Attributes:
        figures: accuracy, macro_auroc and the rest, on the common test set.
        bytes_per_site: payload on the wire per site; 0 where nothing travels.
        rounds: communication rounds.
        seconds: wall time.
    """

    figures: dict[str, Any]
    bytes_per_site: int
    rounds: int
    seconds: float


def compare(
    data: DemoData,
    hospitals: tuple[Hospital, ...],
    out: Path,
    classifier: ClassifierSpec,
    bytes_per_site: int,
    progress: Progress,
) -> dict[str, Arm]:
    """Train own-classes-only, FedAvg and centralised on what the hospitals hold.

    Args:
        data: for the classes and the test images.
        hospitals: who holds what.
        out: the demonstration's folder with their images.
        classifier: the federation's own recipe, so that all arms share it.
        bytes_per_site: what the federation needed; FedAvg gets as many rounds as fit, at least 5.
        progress: watches.

    Returns:
        The arms `own_classes`, `fedavg` and `centralised`.
    """

    from client_agent.classifier.settings import settings_for
    from client_agent.demo import baselines

    sites = []
    with progress.task("reading the hospitals' images", len(hospitals)) as task:
        for number, hospital in enumerate(hospitals, start=1):
            loaded = _load(data, out / "images" / hospital.name, hospital.classes)
            sites.append((loaded.images, loaded.labels))
            task.update(number, hospital.name)
    test = (prepare_test(data), data.test_labels)
    settings = settings_for(classifier)
    ways: dict[str, Callable[..., baselines.Baseline]] = {
        "own_classes": baselines.own_classes,
        "fedavg": partial(baselines.fedavg, bytes_budget=bytes_per_site),
        "centralised": baselines.centralised,
    }
    arms = {}
    for name, train in ways.items():
        with progress.task(f"comparison: {name}", 1) as task:
            result = train(
                sites, test, classes=data.classes, settings=settings, on_progress=task.update
            )
        arms[name] = Arm(
            result.evaluation.to_dict(), result.bytes_per_site, result.rounds, result.seconds
        )
    return arms


def prepare_test(data: DemoData) -> np.ndarray:
    """Prepare the test images exactly as `ff-agent evaluate` does: uint8 [n, H, W, C]."""
    from client_agent.preparation.prepare import prepare

    return np.stack(
        [
            prepare(image, image_size=data.image_size, channels=data.channels)
            for image in data.test_images
        ]
    )


def _load(data: DemoData, folder: Path, only: tuple[str, ...]) -> "LabelledImages":
    from client_agent.sources.load import load_images

    return load_images(
        folder,
        classes=data.classes,
        image_size=data.image_size,
        channels=data.channels,
        only_classes=only,
    )
