"""From errors to probabilities: evidence of each class, and its product with a classifier."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from client_agent.classifier.probabilities import SMALLEST_PROBABILITY
from client_agent.errors import RefusedError
from client_agent.evidence.restoring import restoration_errors
from client_agent.evidence.settings import CLASSIFIER_WEIGHT, WEIGHT
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import AdmittedModule
from ff_protocol.spec import FederationSpec

Float = NDArray[np.float64]


def class_evidence(
    modules: Sequence[AdmittedModule],
    classes: Sequence[str],
    images: NDArray[np.uint8],
    spec: FederationSpec,
    progress: Progress = SILENT,
) -> Float:
    """Return the logarithm of the evidence of each class, up to a constant of each image.

    A module's evidence is the product over the levels of error^-WEIGHT. Several modules of a class
    are a mixture: their mean counts, so that a class gains nothing by being held at many sites.

    Args:
        modules: at least one of each class.
        classes: in the order of the columns.
        images: uint8 [n, H, W, C], of the spec's shape.
        spec: for batch size, threads and limits.
        progress: watches.

    Returns:
        float64 [n, k].

    Raises:
        RefusedError: a module has no denoiser that can be read, fails, or breaks a limit.
    """
    logs: dict[str, list[Float]] = {name: [] for name in classes}
    with progress.task("asking the modules", len(modules) * len(images)) as task:
        for number, module in enumerate(modules):
            report = _after(task.update, number * len(images), module.card.class_name)
            errors = _errors(module, images, spec, report)
            logs[module.card.class_name].append(-WEIGHT * np.log(errors).sum(axis=1))
    columns = [np.logaddexp.reduce(logs[name], axis=0) - np.log(len(logs[name])) for name in logs]
    return np.stack(columns, axis=1)


def _errors(
    module: AdmittedModule,
    images: NDArray[np.uint8],
    spec: FederationSpec,
    report: Callable[[int], None],
) -> Float:
    try:
        return restoration_errors(module.model, images, spec, report)
    except RefusedError as error:
        whose = f"{module.card.class_name} of {module.card.site_id} ({module.digest[:12]})"
        raise RefusedError(f"{whose}: {error.message}", hint=error.hint) from error


def product(
    probabilities: NDArray[np.float32], evidence: Float, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Multiply softmax(scores)^CLASSIFIER_WEIGHT with the evidence and normalise.

    A probability of 0 counts as 1e-7, so that neither side can veto.

    Args:
        probabilities: of a classifier, softmax(scores / temperature), [n, k].
        evidence: from `class_evidence`, [n, k].
        temperature: what the probabilities were tempered by. It is taken back: fitted on synthetic
            images, it makes a classifier as sure of real ones as it is of those.

    Returns:
        float32 [n, k].
    """
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1)
    logs = CLASSIFIER_WEIGHT * temperature * np.log(clipped, dtype=np.float64) + evidence
    values = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def _after(update: Callable[[int, str], None], before: int, label: str) -> Callable[[int], None]:
    return lambda done: update(before + done, label)
