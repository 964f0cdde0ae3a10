"""Train the classifier on the synthetic set and put it into use; certify pending unlearning."""

from dataclasses import dataclass
from typing import Any

from client_agent.classifier.file_format import FORMAT_VERSION
from client_agent.engines.engine import LOCAL, EngineOptions
from client_agent.errors import NotReadyError
from client_agent.progress import SILENT, Progress
from client_agent.registry.fit_record import FitRecord, read_fit_record
from client_agent.registry.forgetting import read_pending
from client_agent.registry.modules import usable_modules
from client_agent.site import Site
from client_agent.steps.apply import apply_revocations
from client_agent.steps.heads import check_view
from client_agent.steps.probe import take_probe
from client_agent.steps.reproducibility import fit_reproducibility
from client_agent.steps.select import keep_chosen
from client_agent.steps.synthesise import make_dataset
from client_agent.steps.unlearning import certify_unlearning
from client_agent.synthesis.dataset import Dataset
from ff_protocol import canonical
from ff_protocol.files import read_bounded, sync_folder, write_atomically
from ff_protocol.limits import MIB
from ff_protocol.revisions import FIRST, SpecRevision
from ff_protocol.unlearning import Rebuilt

_MAX_CLASSIFIER_BYTES = 2048 * MIB


@dataclass(frozen=True)
class Fitted:
    """What `fit` did.

    Attributes:
        classifier: SHA-256 of `classifier.onnx`.
        dataset_root: Merkle root of its training set.
        classes: the classes it knows, in the order of its outputs.
        samples: number of training images.
        already: the classifier in use was made from the same inputs and was kept.
        certificate: file name of the unlearning certificate written, if any.
    """

    classifier: str
    dataset_root: str
    classes: tuple[str, ...]
    samples: int
    already: bool
    certificate: str | None


def fit(site: Site, progress: Progress = SILENT, engine: EngineOptions = LOCAL) -> Fitted:
    """Synthesise what is missing, train, export; the old classifier serves until the new is whole.

    Revocations that an interruption left half applied are applied first.

    Args:
        site: whose classifier.
        progress: watches.
        engine: where missing samples are computed; the classifier is trained here.

    Raises:
        NotReadyError: modules of fewer than two classes are here.
        RefusedError: a revocation is being withheld, or policy demands fresher heads.
    """
    apply_revocations(site, progress)
    check_view(site, progress)
    keep_chosen(site, progress)
    record, already = build_classifier(site, progress, engine)
    certificate = _certify(site, record)
    return Fitted(
        classifier=record.classifier,
        dataset_root=record.dataset_root,
        classes=record.classes,
        samples=record.samples,
        already=already,
        certificate=certificate,
    )


def build_classifier(
    site: Site, progress: Progress = SILENT, engine: EngineOptions = LOCAL
) -> tuple[FitRecord, bool]:
    """Make data set and classifier from the modules in `admitted/`, nothing else; as `fit`.

    Returns:
        The record of the classifier in use, and whether it was there already.

    Raises:
        NotReadyError: modules of fewer than two classes are here.
    """
    present = {module.card.class_name for module in usable_modules(site.home, site.spec)}
    if len(present) < 2:
        raise NotReadyError(
            f"modules of {len(present)} class(es) are here; a classifier needs at least two",
            hint="run: ff-agent receive --wait N",
        )
    _, dataset = make_dataset(site, progress, engine)
    inputs = classifier_inputs(site, dataset)
    record = read_fit_record(site.home)
    already = record is not None and record.inputs == inputs and _intact(site, record)
    if record is None or not already:
        record = _fit(site, dataset, inputs, progress)
    return record, already


def classifier_inputs(site: Site, dataset: Dataset) -> str:
    """SHA-256 over all that the classifier's bytes depend on."""
    return canonical.sha256_hex(
        canonical.dumps(
            {
                "dataset": dataset.root,
                "classes": list(dataset.classes),
                "classifier": site.spec.classifier.model_dump(),
                "format": FORMAT_VERSION,
                "reproducibility": fit_reproducibility(site.spec),
                **spec_provenance(site.revision),
            }
        )
    )


def _fit(site: Site, dataset: Dataset, inputs: str, progress: Progress) -> FitRecord:
    from client_agent.classifier.calibration import calibrate, held_out
    from client_agent.classifier.export import export_classifier
    from client_agent.classifier.settings import settings_for
    from client_agent.classifier.training import fit_classifier
    from client_agent.preparation.prepare import recipe

    modules = usable_modules(site.home, site.spec)
    held = held_out(dataset.labels)
    training = dataset.images[~held], dataset.labels[~held]
    with progress.task("training the classifier", 1) as task:
        fitted = fit_classifier(
            *training,
            classes=dataset.classes,
            settings=settings_for(site.spec.classifier),
            on_progress=lambda now: task.update(now.fraction, f"loss {now.loss:.4f}"),
        )
    calibration = calibrate(fitted, training, (dataset.images[held], dataset.labels[held]))
    folder = site.home.classifier.parent
    folder.mkdir(parents=True, exist_ok=True)
    # A classifier whose record is missing is not in use: record goes first, comes back last.
    site.home.fit_record.unlink(missing_ok=True)
    export_classifier(
        fitted,
        calibration,
        site.home.classifier,
        preprocessing=recipe(
            site.spec.image.size,
            site.spec.image.channels,
            site.spec.preparation.window_rule,
            site.spec.preparation.frame_rule,
        ),
        provenance=_provenance(site, dataset),
    )
    record = FitRecord(
        inputs=inputs,
        modules=tuple(module.digest for module in modules),
        samples=len(dataset.images),
        losses=tuple(round(loss, 6) for loss in fitted.losses),
        state=Rebuilt(
            spec=canonical.sha256_hex(canonical.dumps(site.spec.model_dump(mode="json"))),
            dataset_root=dataset.root,
            portions=dataset.portions,
            classifier=_digest(site),
            classes=dataset.classes,
            reproducibility=fit_reproducibility(site.spec),
            probe=take_probe(site.home.classifier, dataset),
            revision=site.revision.number,
        ),
    )
    write_atomically(site.home.fit_record, record.to_bytes())
    sync_folder(folder)
    site.log.append("fitted", classifier=record.classifier, dataset=record.dataset_root)
    return record


def _provenance(site: Site, dataset: Dataset) -> dict[str, Any]:
    """What goes into the classifier's metadata: equal at every site with the same modules."""
    return {
        "federation": site.trust.federation_id,
        "dataset_root": dataset.root,
        "synthesis": site.spec.synthesis.model_dump(),
        "classifier": site.spec.classifier.model_dump(),
        "modules": [
            {"digest": module.digest, "class": module.card.class_name, "site": module.card.site_id}
            for module in usable_modules(site.home, site.spec)
        ],
        "reproducibility": fit_reproducibility(site.spec),
        **spec_provenance(site.revision),
    }


def spec_provenance(revision: SpecRevision) -> dict[str, Any]:
    """Name the revision of the spec in what a classifier is made from.

    The first one is not named: a program that knows of no revisions makes the same bytes under it.
    """
    if revision.number == FIRST:
        return {}
    return {"spec": {"revision": revision.number, "statement": revision.digest}}


def _digest(site: Site) -> str:
    return canonical.sha256_hex(
        read_bounded(site.home.classifier, _MAX_CLASSIFIER_BYTES, "classifier")
    )


def _intact(site: Site, record: FitRecord) -> bool:
    return _digest(site) == record.classifier


def _certify(site: Site, record: FitRecord) -> str | None:
    pending = read_pending(site)
    if pending is None:
        return None
    return certify_unlearning(site, pending, record.state).name
