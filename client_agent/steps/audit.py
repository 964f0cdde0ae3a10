"""Measure this site's own modules again, or for the first time, on the images they come from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client_agent.audit.figures import JudgedFigure, judge
from client_agent.errors import NotReadyError
from client_agent.module.packing import restore_replaced
from client_agent.policy.file import read_policy
from client_agent.policy.release import Objection, objections
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.training_images import (
    ImageName,
    TrainingImages,
    pixels_digest,
    training_images_of,
)
from client_agent.site import Site
from client_agent.sources.location import Location, is_there
from client_agent.steps.reading import read_training_images
from client_agent.steps.release import is_published, replace_card
from client_agent.steps.train_class import audit_trained, site_classes
from client_agent.steps.train_options import TrainOptions
from ff_protocol.manifest import MODULE_FILE, describe_module

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages


@dataclass(frozen=True)
class AuditedModule:
    """One module of this site, measured.

    Attributes:
        class_name: its class.
        digest: its identity now.
        figures: what was measured, each beside this site's bound.
        objections: what stands against its release, judged by what its card says now.
        entered: the figures were written into its card, which had none; it has a new identity.
        not_auditable: why nothing could be measured, None if something was.
        notices: remarks on the measurement.
    """

    class_name: str
    digest: str
    figures: tuple[JudgedFigure, ...]
    objections: tuple[Objection, ...]
    entered: bool
    not_auditable: str | None = None
    notices: tuple[str, ...] = field(default=())


def audit(
    site: Site,
    classes: tuple[str, ...] = (),
    *,
    data: Location | None = None,
    progress: Progress = SILENT,
) -> tuple[AuditedModule, ...]:
    """Audit modules in the outbox.

    The card of a module that was trained without an audit gets the figures, unless it is published.
    Other cards stay as they are.

    Args:
        site: whose modules they are.
        classes: which; none means all.
        data: where the images lie now, if not where they were trained from.
        progress: watches.

    Raises:
        NotReadyError: no such module, or its images or its network are not here any more.
        DataError: the images cannot be read.
    """
    restore_replaced(site.home)
    own = own_modules(site.home)
    for name in classes or (() if own else ("",)):
        if name not in own:
            raise NotReadyError(
                f"there is no module of class {name!r}" if name else "there is no module to audit",
                hint="run: ff-agent train --data PATH",
            )
    return tuple(
        _audit_module(site, name, folder, data, progress)
        for name, folder in own.items()
        if not classes or name in classes
    )


def _audit_module(
    site: Site, class_name: str, folder: Path, data: Location | None, progress: Progress
) -> AuditedModule:
    from client_agent.generator.keeping import load_generator

    digest, _ = describe_module(folder)
    record = training_images_of(site.home, digest)
    if record is None:
        raise NotReadyError(
            f"{class_name}: it is not known which images went into module {digest[:12]}",
            hint="train it again: ff-agent train --retrain",
        )
    policy = read_policy(site.home).release
    card = read_card(folder)
    if not record.held_out:
        reason = "no images were kept aside when it was trained: the class has too few"
        return AuditedModule(class_name, digest, (), objections(card, policy), False, reason)
    images = _load(site, record, data, progress)
    result = audit_trained(
        site,
        class_name,
        folder / MODULE_FILE,
        load_generator(site.home.generator(digest)),
        _find(images, record.images, class_name),
        _find(images, record.held_out, class_name),
        site_classes(images, class_name),
        int(record.options["seed"]),
        progress,
    )
    measured = card.model_copy(
        update={"fidelity": result.fidelity, "memorisation": result.memorisation}
    )
    entered = not card.memorisation and bool(result.memorisation)
    entered = entered and not is_published(site, digest)
    if entered:
        card = measured
        digest = replace_card(site, class_name, digest, card)
    site.log.append("audited", class_name=class_name, module=digest, entered=entered)
    return AuditedModule(
        class_name,
        digest,
        judge(measured, policy.bounds(measured)) if result.memorisation else (),
        objections(card, policy),
        entered,
        result.not_auditable,
        result.notices,
    )


def _load(
    site: Site, record: TrainingImages, data: Location | None, progress: Progress
) -> "LabelledImages":
    """Read the images as `train` did."""
    options = TrainOptions.from_json(record.options, data)
    if not is_there(options.data):
        raise NotReadyError(
            f"{record.class_name}: its images are not at {options.data} any more",
            hint="say where they lie: --data PATH",
        )
    return read_training_images(site, options, progress)


def _find(images: "LabelledImages", names: tuple[ImageName, ...], class_name: str) -> np.ndarray:
    """Return the named images, uint8 [n, H, W, C], in the order of the names."""
    places = {pixels_digest(image): index for index, image in enumerate(images.images)}
    missing = [name.identifier for name in names if name.pixels not in places]
    if missing:
        raise NotReadyError(
            f"{class_name}: {len(missing)} of its {len(names)} images are not there any more or "
            f"have changed: {', '.join(missing[:3])}",
            hint="say where they lie with --data PATH, or train the class again",
        )
    return images.images[[places[name.pixels] for name in names]]
