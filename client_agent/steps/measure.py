"""All that a report says of the classifier in use on labelled images, with intervals."""

from typing import TYPE_CHECKING

import numpy as np

from client_agent.report.content import ClassResult, Results
from client_agent.site import Site
from client_agent.steps.predict import judge, open_current_classifier

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages


def measure(site: Site, loaded: "LabelledImages") -> Results:
    """Measure the classifier in use, its site's own calibration included."""
    from client_agent.classifier import curves
    from client_agent.classifier.evaluation import evaluate_probabilities
    from client_agent.classifier.local_calibration import read_local

    classifier = open_current_classifier(site)
    local = read_local(site.home, classifier.digest)
    probabilities, _, flagged = judge(classifier, local, loaded.images)
    figures = evaluate_probabilities(
        probabilities, loaded.labels, classes=loaded.classes, known=classifier.classes
    )
    columns = np.array([loaded.classes.index(name) for name in classifier.classes])
    scores = np.zeros((len(loaded.labels), len(loaded.classes)))
    scores[:, columns] = probabilities
    found = {
        name: curves.roc(name, loaded.labels == index, scores[:, index])
        for index, name in enumerate(loaded.classes)
        if name in classifier.classes
    }
    right = columns[probabilities.argmax(1)] == loaded.labels
    confidence = probabilities.max(1).astype(np.float64)
    return Results(
        images=figures.images,
        accuracy=figures.accuracy,
        accuracy_interval=curves.wilson(int(right.sum()), len(right)),
        macro_auroc=figures.macro_auroc,
        macro_f1=figures.macro_f1,
        classes=tuple(
            ClassResult(
                name=name,
                images=sum(row),
                recall=figures.recall[name],
                recall_interval=curves.wilson(row[index], sum(row)) if sum(row) else None,
                area=None if (curve := found.get(name)) is None else curve.area,
                area_interval=None if curve is None else curve.interval,
                known=name in classifier.classes,
            )
            for index, (name, row) in enumerate(
                zip(figures.classes, figures.confusion, strict=True)
            )
        ),
        confusion=figures.confusion,
        rocs=tuple(curve for curve in found.values() if curve is not None),
        calibration=curves.calibration(confidence, right),
        flagged=float(flagged.mean()),
        locally_calibrated=local is not None,
    )
