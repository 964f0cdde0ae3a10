"""The audit of a module as it would leave: samples come from `module.onnx`, not from torch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client_agent.audit.audit import AuditResult, SiteClasses, audit_generator, samples_wanted
from client_agent.audit.membership import denoising_losses
from ff_protocol.manifest import describe_file
from ff_protocol.spec import FederationSpec

if TYPE_CHECKING:
    from client_agent.generator.training import TrainedGenerator

# Shares of the time, for the progress bar.
_SAMPLED, _ATTACKED = 0.2, 0.5


def audit_module(
    model: Path,
    trained: "TrainedGenerator",
    training: np.ndarray,
    held_out: np.ndarray,
    *,
    spec: FederationSpec,
    federation_id: str,
    site_classes: SiteClasses | None,
    seed: int,
    on_progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> AuditResult:
    """Measure what a module gives away about its training images, and how good its images are.

    The samples follow from the model file alone, so that a second audit draws the same; they are
    none of those that the federation's data sets hold.

    Args:
        model: `module.onnx`.
        trained: the generator behind it.
        training: what it was trained on, uint8 [n, H, W, C].
        held_out: images of the class that it never saw, uint8 [m, H, W, C].
        spec: of the federation.
        federation_id: its identifier.
        site_classes: the site's other classes; None if it has none.
        seed: of noise, features and subsamples.
        on_progress: called with the fraction done, 0 to 1, and what is being done.
    """
    from client_agent.synthesis.session import ModuleSession, quantise

    session = ModuleSession(model, describe_file(model).sha256, spec, federation_id)
    wanted = samples_wanted(len(training))
    batches = -(-wanted // session.batch_size)
    parts = []
    for number, images in enumerate(session.run_batches(range(batches)), start=1):
        parts.append(quantise(images))
        on_progress(_SAMPLED * number / batches, "sampling")

    def attacked(fraction: float) -> None:
        on_progress(_SAMPLED + (_ATTACKED - _SAMPLED) * fraction, "attacking the network")

    losses = denoising_losses(trained, training, held_out, seed=seed, on_progress=attacked)
    return audit_generator(
        training,
        held_out,
        np.concatenate(parts)[:wanted],
        losses,
        site_classes=site_classes,
        seed=seed,
        on_progress=lambda done, text: on_progress(_ATTACKED + (1 - _ATTACKED) * done, text),
    )
