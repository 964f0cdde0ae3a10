"""Use the classifier: measure it on labelled images, or label new ones."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client_agent.errors import NotReadyError
from client_agent.preparation.dicom_rules import Rendering
from client_agent.preparation.prepare import read_recipe
from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.sources.options import NOTHING_SAID, SourceOptions, agree
from ff_protocol import canonical
from ff_protocol.files import write_atomically

if TYPE_CHECKING:
    from client_agent.classifier.prediction import ClassifierFile


@dataclass(frozen=True)
class Evaluated:
    """Figures of the classifier in use on one labelled set; `skipped` images were unreadable."""

    classifier: str
    images: int
    figures: dict[str, Any]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prediction:
    """One image's label. `probabilities` follow the classifier's classes."""

    identifier: str
    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Predicted:
    """Predictions in the order of the images, and what could not be read."""

    classifier: str
    predictions: tuple[Prediction, ...]
    skipped: tuple[tuple[str, str], ...]


def evaluate(
    site: Site,
    data: Location,
    *,
    labels: Path | None = None,
    source: SourceOptions = NOTHING_SAID,
    split: str = "test",
    progress: Progress = SILENT,
) -> Evaluated:
    """Measure accuracy, macro AUROC, macro F1 and the confusion matrix.

    Raises:
        NotReadyError: there is no classifier. DataError: no usable labelled images.
    """
    from client_agent.classifier.evaluation import evaluate_probabilities
    from client_agent.sources.index import HeaderIndex
    from client_agent.sources.load import load_images

    classifier = _open(site)
    made = read_recipe(classifier.preprocessing)
    rendering, warnings = agree(source, made.window, made.frame)
    for warning in warnings:
        progress.note(warning)
    loaded = load_images(
        data,
        classes=site.spec.classes,
        image_size=made.image_size,
        channels=made.channels,
        labels_csv=labels,
        label_map=source.label_map,
        label_tag=source.label_tag,
        split=split,
        rendering=rendering,
        index=HeaderIndex(site.home.scan_index),
    )
    with progress.task("evaluating", len(loaded.images)) as task:
        probabilities = classifier.predict(loaded.images)
        task.update(len(loaded.images))
    figures = evaluate_probabilities(
        probabilities, loaded.labels, classes=loaded.classes, known=classifier.classes
    )
    skipped = tuple((item.identifier, item.reason) for item in loaded.skipped)
    return Evaluated(classifier.digest, len(loaded.images), figures.to_dict(), skipped)


def predict(
    site: Site, data: Location, *, split: str = "test", progress: Progress = SILENT
) -> Predicted:
    """Label images whose classes need not be known.

    Raises:
        NotReadyError: there is no classifier. DataError: no readable image.
    """
    from client_agent.sources.load import load_unlabelled

    classifier = _open(site)
    made = read_recipe(classifier.preprocessing)
    loaded = load_unlabelled(
        data,
        image_size=made.image_size,
        channels=made.channels,
        split=split,
        rendering=Rendering(made.window, made.frame, allow_burned_in=True),
    )
    with progress.task("predicting", len(loaded.images)) as task:
        probabilities = classifier.predict(loaded.images)
        task.update(len(loaded.images))
    predictions = []
    for identifier, row in zip(loaded.identifiers, probabilities, strict=True):
        best = int(row.argmax())
        predictions.append(
            Prediction(
                identifier=identifier,
                label=classifier.classes[best],
                probability=round(float(row[best]), 6),
                probabilities={
                    name: round(float(value), 6)
                    for name, value in zip(classifier.classes, row, strict=True)
                },
            )
        )
    skipped = tuple((item.identifier, item.reason) for item in loaded.skipped)
    return Predicted(classifier.digest, tuple(predictions), skipped)


def write_predictions(predicted: Predicted, path: Path) -> None:
    """Write predictions as CSV, or as JSON if the name ends in `.json`; the file appears whole."""
    if path.suffix.lower() == ".json":
        rows = [vars(item) for item in predicted.predictions]
        write_atomically(path, canonical.dumps({"predictions": rows}))
        return
    write_atomically(path, predictions_csv(predicted).encode())


def predictions_csv(predicted: Predicted) -> str:
    """Format as CSV: identifier, label, probability, then one column per class."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = list(predicted.predictions[0].probabilities) if predicted.predictions else []
    writer.writerow(["identifier", "label", "probability", *names])
    for item in predicted.predictions:
        writer.writerow(
            [item.identifier, item.label, item.probability, *item.probabilities.values()]
        )
    return buffer.getvalue()


def _open(site: Site) -> "ClassifierFile":
    from client_agent.classifier.prediction import ClassifierFile

    if not site.home.classifier.is_file():
        raise NotReadyError("there is no classifier yet", hint="run: ff-agent fit")
    return ClassifierFile.open(site.home.classifier)
