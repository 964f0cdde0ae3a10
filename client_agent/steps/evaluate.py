"""Measure the classifier in use on labelled images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.classifier.prevalence import EVEN
from client_agent.classifier.views import ONE, check_views
from client_agent.preparation.prepare import read_recipe
from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.sources.options import NOTHING_SAID, SourceOptions
from client_agent.steps.evidence import gather_evidence
from client_agent.steps.predict import judge, open_current_classifier
from client_agent.steps.prevalence import find_shares, named_shares
from client_agent.steps.reading import read_labelled


@dataclass(frozen=True)
class Evaluated:
    """Figures of the classifier in use on one labelled set.

    Attributes:
        classifier: its SHA-256.
        evidence: whether the modules were asked, too (client_agent/evidence).
        prevalence: the shares of the classes that the answers were given for.
        views: in which the classifier judged each image (client_agent/classifier/views.py).
        images: how many.
        figures: see `classifier.evaluation.Evaluation`.
        flagged: share of the images flagged as unlike the training set.
        skipped: unreadable images, identifier and reason.
    """

    classifier: str
    evidence: bool
    prevalence: dict[str, float]
    views: str
    images: int
    figures: dict[str, Any]
    flagged: float
    skipped: tuple[tuple[str, str], ...]


def evaluate(
    site: Site,
    data: Location,
    *,
    labels: Path | None = None,
    source: SourceOptions = NOTHING_SAID,
    split: str = "test",
    evidence: bool = False,
    prevalence: str = EVEN,
    views: str = ONE,
    progress: Progress = SILENT,
) -> Evaluated:
    """Measure accuracy, macro AUROC, macro F1 and the confusion matrix.

    Raises:
        NotReadyError: there is no classifier, or it was made from other modules than are here.
        DataError: no usable labelled images.
        UsageError: the prevalence cannot be read, or the views are unknown.
        RefusedError: a module cannot be asked.
    """
    from client_agent.classifier.evaluation import evaluate_probabilities
    from client_agent.classifier.local_calibration import read_local

    check_views(views)
    classifier = open_current_classifier(site)
    shares = find_shares(site, classifier, prevalence)
    loaded = read_labelled(
        site,
        data,
        read_recipe(classifier.preprocessing),
        labels=labels,
        source=source,
        split=split,
        progress=progress,
    )
    said = gather_evidence(site, classifier, loaded.images, progress) if evidence else None
    with progress.task("evaluating", len(loaded.images)) as task:
        local = read_local(site.home, classifier.digest)
        probabilities, _, flagged = judge(
            classifier, local, loaded.images, evidence=said, shares=shares, views=views
        )
        task.update(len(loaded.images))
    figures = evaluate_probabilities(
        probabilities, loaded.labels, classes=loaded.classes, known=classifier.classes
    )
    skipped = tuple((item.identifier, item.reason) for item in loaded.skipped)
    return Evaluated(
        classifier=classifier.digest,
        evidence=evidence,
        prevalence=named_shares(classifier.classes, shares),
        views=views,
        images=len(loaded.images),
        figures=figures.to_dict(),
        flagged=round(float(flagged.mean()), 4),
        skipped=skipped,
    )
