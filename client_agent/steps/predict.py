"""Label new images with the classifier in use, and say of each whether it is of a familiar kind."""

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client_agent.classifier.prevalence import EVEN, reweight
from client_agent.classifier.probabilities import geometric_mean
from client_agent.classifier.views import ONE, check_views, views_of
from client_agent.errors import NotReadyError
from client_agent.preparation.prepare import read_recipe
from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.steps.evidence import gather_evidence
from client_agent.steps.prevalence import find_shares, named_shares
from client_agent.steps.reading import read_unlabelled
from ff_protocol import canonical
from ff_protocol.files import write_atomically

if TYPE_CHECKING:
    from client_agent.classifier.local_calibration import LocalCalibration
    from client_agent.classifier.prediction import ClassifierFile

_PART = 256


@dataclass(frozen=True)
class Prediction:
    """One image's label.

    Attributes:
        identifier: as the source names the image.
        label: the most probable class.
        probability: its probability, calibrated.
        out_of_distribution: the classifier was not trained on anything like this image: do not
            rely on the label.
        in_distribution: nearness to the training set; 1 is the classifier's own limit.
        probabilities: of every class that the classifier knows.
    """

    identifier: str
    label: str
    probability: float
    out_of_distribution: bool
    in_distribution: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Predicted:
    """Predictions in the order of the images.

    Attributes:
        classifier: its SHA-256.
        unknown_classes: classes of the federation that it does not know (no module yet, or
            revoked): their images get the label of another class or the flag.
        locally_calibrated: whether the site's own calibration was used.
        evidence: whether the modules were asked, too (client_agent/evidence).
        prevalence: the shares of the classes that the probabilities are for.
        views: in which the classifier judged each image (client_agent/classifier/views.py).
        flag_below: images whose `in_distribution` is lower are flagged.
        predictions: one an image.
        skipped: unreadable images, identifier and reason.
        seconds: reading, preparing, asking the modules and classifying.
        images_per_second: over these seconds.
        classifier_images_per_second: of the classifier alone.
    """

    classifier: str
    unknown_classes: tuple[str, ...]
    locally_calibrated: bool
    evidence: bool
    prevalence: dict[str, float]
    views: str
    flag_below: float
    predictions: tuple[Prediction, ...]
    skipped: tuple[tuple[str, str], ...]
    seconds: float
    images_per_second: float
    classifier_images_per_second: float

    @property
    def flagged(self) -> int:
        """Number of images of an unfamiliar kind."""
        return sum(item.out_of_distribution for item in self.predictions)


def predict(
    site: Site,
    data: Location,
    *,
    split: str = "test",
    evidence: bool = False,
    prevalence: str = EVEN,
    views: str = ONE,
    progress: Progress = SILENT,
) -> Predicted:
    """Label images whose classes need not be known.

    Args:
        site: whose classifier.
        data: where the images are.
        split: of an .npz file.
        evidence: multiply the classifier's probabilities with what the modules say.
        prevalence: how common the classes are where the images come from; see `find_shares`.
        views: `one`, `mirrored` or `turned`, in which the classifier judges each image.
        progress: watches.

    Raises:
        NotReadyError: there is no classifier, or it was made from other modules than are here.
        DataError: no readable image.
        UsageError: the prevalence cannot be read, or the views are unknown.
        RefusedError: a module cannot be asked.
    """
    from client_agent.classifier.local_calibration import read_local

    started = time.monotonic()
    check_views(views)
    classifier = open_classifier(site)
    shares = find_shares(site, classifier, prevalence)
    local = read_local(site.home, classifier.digest)
    recipe = read_recipe(classifier.preprocessing)
    loaded = read_unlabelled(data, recipe, split=split, progress=progress)
    said = gather_evidence(site, classifier, loaded.images, progress) if evidence else None
    begun = time.monotonic()
    predictions: list[Prediction] = []
    with progress.task("predicting", len(loaded.images)) as task:
        for start in range(0, len(loaded.images), _PART):
            part = slice(start, start + _PART)
            judged = judge(
                classifier,
                local,
                loaded.images[part],
                evidence=None if said is None else said[part],
                shares=shares,
                views=views,
            )
            predictions += _predictions(classifier.classes, loaded.identifiers[part], *judged)
            task.update(len(predictions))
    ended = time.monotonic()
    return Predicted(
        classifier=classifier.digest,
        unknown_classes=tuple(name for name in site.spec.classes if name not in classifier.classes),
        locally_calibrated=local is not None,
        evidence=evidence,
        prevalence=named_shares(classifier.classes, shares),
        views=views,
        flag_below=1.0 if local is None else local.flag_below,
        predictions=tuple(predictions),
        skipped=tuple((item.identifier, item.reason) for item in loaded.skipped),
        seconds=round(ended - started, 3),
        images_per_second=round(len(predictions) / (ended - started), 1),
        classifier_images_per_second=round(len(predictions) / (ended - begun), 1),
    )


def judge(
    classifier: "ClassifierFile",
    local: "LocalCalibration | None",
    images: Any,
    *,
    evidence: Any = None,
    shares: Any = None,
    views: str = ONE,
) -> tuple[Any, Any, Any]:
    """Run the classifier as this site uses it.

    The site's own temperature was fitted for the classifier alone, so evidence is not told of it.

    Args:
        classifier: the classifier.
        local: what the site measured for it, if anything.
        images: uint8 [n, H, W, C].
        evidence: of the modules, from `gather_evidence`, float64 [n, k]; None: they have no say.
        shares: of the classes where the images come from, float64 [k]; None: all the same.
        views: in which the classifier judges each image; the modules see it as it is.

    Returns:
        probabilities float32 [n, k], `in_distribution` of the image as it is, float32 [n], and bool
        [n]: flagged as unlike the training set.
    """
    from client_agent.classifier.local_calibration import retemper

    judged, near = zip(*(classifier.run(view) for view in views_of(images, views)), strict=True)
    probabilities, nearness = geometric_mean(judged), near[0]
    limit = 1.0 if local is None else local.flag_below
    if evidence is not None:
        from client_agent.evidence.judgement import product

        probabilities = product(probabilities, evidence, classifier.temperature)
    elif local is not None:
        probabilities = retemper(probabilities, local.temperature)
    if shares is not None:
        probabilities = reweight(probabilities, shares)
    return probabilities, nearness, nearness < limit


def _predictions(
    classes: tuple[str, ...],
    identifiers: tuple[str, ...],
    probabilities: Any,
    nearness: Any,
    flagged: Any,
) -> Iterator[Prediction]:
    for identifier, row, near, flag in zip(
        identifiers, probabilities, nearness, flagged, strict=True
    ):
        best = int(row.argmax())
        yield Prediction(
            identifier=identifier,
            label=classes[best],
            probability=round(float(row[best]), 6),
            out_of_distribution=bool(flag),
            in_distribution=round(float(near), 4),
            probabilities={
                name: round(float(value), 6) for name, value in zip(classes, row, strict=True)
            },
        )


def open_classifier(site: Site) -> "ClassifierFile":
    """Open the classifier in use.

    Raises:
        NotReadyError: there is none.
    """
    from client_agent.classifier.prediction import ClassifierFile

    if not site.home.classifier.is_file():
        raise NotReadyError("there is no classifier yet", hint="run: ff-agent fit")
    return ClassifierFile.open(site.home.classifier)


def open_current_classifier(site: Site) -> "ClassifierFile":
    """Open the classifier in use for measuring it on labelled images of the spec in force.

    Predicting goes on with a classifier of an earlier revision of the spec; measuring does not.

    Raises:
        NotReadyError: there is none, or none for the images and classes of today.
    """
    classifier = open_classifier(site)
    spec = site.spec
    shape = (classifier.image_size, classifier.channels)
    if shape != (spec.image.size, spec.image.channels) or set(classifier.classes) - set(
        spec.classes
    ):
        raise NotReadyError(
            "the classifier in use was made for an earlier revision of the federation spec than "
            f"revision {site.revision.number}, with other images or classes",
            hint="run: ff-agent fit",
        )
    return classifier


def write_predictions(predicted: Predicted, path: Path) -> None:
    """Write predictions as CSV, or as JSON if the name ends in `.json`; the file appears whole."""
    if path.suffix.lower() == ".json":
        write_atomically(path, canonical.dumps(_plain(predicted)))
        return
    write_atomically(path, predictions_csv(predicted).encode())


def predictions_csv(predicted: Predicted) -> str:
    """Format as CSV, one row an image, the classes' probabilities in the last columns."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = list(predicted.predictions[0].probabilities) if predicted.predictions else []
    writer.writerow(
        ["identifier", "label", "probability", "out_of_distribution", "in_distribution", *names]
    )
    for item in predicted.predictions:
        flag = "yes" if item.out_of_distribution else "no"
        numbers = [item.in_distribution, *item.probabilities.values()]
        writer.writerow([item.identifier, item.label, item.probability, flag, *numbers])
    return buffer.getvalue()


def _plain(predicted: Predicted) -> dict[str, Any]:
    """JSON types; canonical JSON has lists, no tuples."""
    value = asdict(predicted)
    value["predictions"] = list(value["predictions"])
    value["unknown_classes"] = list(predicted.unknown_classes)
    value["skipped"] = [list(item) for item in predicted.skipped]
    return value
