"""Measure the classifier's certainty on this site's real images and correct it for this site."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation.prepare import read_recipe
from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.sources.options import NOTHING_SAID, SourceOptions
from client_agent.steps.predict import open_current_classifier
from client_agent.steps.reading import read_labelled


@dataclass(frozen=True)
class Calibrated:
    """What was measured and what is used from now on.

    Attributes:
        classifier: the SHA-256 of the classifier that it holds for.
        images: number of images.
        classes: their classes.
        temperature: log-probabilities are divided by it; 1 changes nothing.
        flag_below: images whose `in_distribution` is lower are flagged.
        flagged_before, flagged_after: share of these images that was flagged, and is now.
        accuracy: share of these images with the right label; calibrating does not change it.
        confidence_before, confidence_after: mean probability of the label.
    """

    classifier: str
    images: int
    classes: tuple[str, ...]
    temperature: float
    flag_below: float
    flagged_before: float
    flagged_after: float
    accuracy: float
    confidence_before: float
    confidence_after: float


def calibrate_here(
    site: Site,
    data: Location,
    *,
    labels: Path | None = None,
    source: SourceOptions = NOTHING_SAID,
    split: str = "val",
    progress: Progress = SILENT,
) -> Calibrated:
    """Fit the site's own temperature and limit; the caller holds the home's lock.

    Args:
        site: whose classifier.
        data: labelled images that no generator was trained on.
        labels: CSV with labels for DICOM files.
        source: whatever else there is to say of the images.
        split: which split of an `.npz`.
        progress: watches.

    Raises:
        NotReadyError: there is no classifier.
        DataError: too few images of classes that the classifier knows.
    """
    from client_agent.classifier.local_calibration import (
        LocalCalibration,
        fit_local,
        retemper,
        store_local,
    )

    classifier = open_current_classifier(site)
    loaded = read_labelled(
        site,
        data,
        read_recipe(classifier.preprocessing),
        labels=labels,
        source=source,
        split=split,
        progress=progress,
    )
    names = np.array(loaded.classes)[loaded.labels]
    known = np.isin(names, classifier.classes)
    if not known.any():
        raise DataError("the classifier knows none of these images' classes")
    with progress.task("calibrating", int(known.sum())) as task:
        probabilities, nearness = classifier.run(loaded.images[known])
        task.update(len(nearness))
    columns = np.array([classifier.classes.index(name) for name in names[known]])
    temperature, flag_below = fit_local(probabilities, nearness, columns)
    classes = tuple(name for name in classifier.classes if name in set(names[known]))
    local = LocalCalibration(
        classifier.digest, len(columns), classes, temperature, round(flag_below, 4)
    )
    store_local(site.home, local)
    site.log.append("calibrated", classifier=classifier.digest, images=len(columns))
    after = retemper(probabilities, temperature)
    return Calibrated(
        classifier=classifier.digest,
        images=local.images,
        classes=local.classes,
        temperature=local.temperature,
        flag_below=local.flag_below,
        flagged_before=round(float((nearness < 1).mean()), 4),
        flagged_after=round(float((nearness < local.flag_below).mean()), 4),
        accuracy=round(float((probabilities.argmax(1) == columns).mean()), 4),
        confidence_before=round(float(probabilities.max(1).mean()), 4),
        confidence_after=round(float(after.max(1).mean()), 4),
    )
