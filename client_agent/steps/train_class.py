"""One class from images to module: part, then, when it is trained (train_job.py), audit and pack.

A part of the class is kept aside (client_agent/audit/hold_out.py). It says when training has begun
to memorise, and it is what the audit compares the training images with. The audit looks at the
exported module, and its figures are signed with it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client_agent.audit.hold_out import MIN_IMAGES_PER_CLASS, HoldOut, hold_out
from client_agent.errors import DataError
from client_agent.module.packing import PackedModule, pack_module
from client_agent.progress import Progress
from client_agent.registry.modules import own_modules, remove_folder
from client_agent.registry.private_files import forget_private, keep_private
from client_agent.registry.training_images import (
    ImageName,
    TrainingImages,
    pixels_digest,
    withdrawn_among,
)
from client_agent.site import Site
from client_agent.steps.release import is_published
from client_agent.steps.train_options import TrainOptions
from ff_protocol.manifest import describe_module

if TYPE_CHECKING:
    from client_agent.audit.audit import AuditResult, SiteClasses
    from client_agent.generator.training import TrainedGenerator
    from client_agent.sources.labelled import LabelledImages
    from client_agent.steps.train_job import Training


@dataclass(frozen=True, eq=False)
class ChosenClass:
    """One class as it goes into training.

    Attributes:
        name: of the class.
        images: uint8 [n, H, W, C], without withdrawn ones.
        names: of the images, [n].
        parts: which are trained on and which held out.
        data: all that was read, for its other classes.
    """

    name: str
    images: np.ndarray
    names: tuple[ImageName, ...]
    parts: HoldOut
    data: "LabelledImages"

    @property
    def training(self) -> np.ndarray:
        """What is trained on."""
        return self.images[list(self.parts.trained_on)]

    @property
    def held_out(self) -> np.ndarray:
        """What is kept aside."""
        return self.images[list(self.parts.held_out)]

    @property
    def others(self) -> "SiteClasses | None":
        """The site's other classes."""
        return site_classes(self.data, self.name)

    def record(self, module: str, options: TrainOptions) -> TrainingImages:
        """Name both parts."""
        trained_on, held_out = (
            tuple(self.names[index] for index in part)
            for part in (self.parts.trained_on, self.parts.held_out)
        )
        return TrainingImages(module, self.name, options.to_json(), trained_on, held_out)


def select_class(
    site: Site,
    data: "LabelledImages",
    class_name: str,
    options: TrainOptions,
    progress: Progress,
) -> ChosenClass:
    """Return a class's images without those that were withdrawn, parted.

    Raises:
        DataError: too few distinct images.
    """
    chosen = np.flatnonzero(data.labels == data.classes.index(class_name))
    names = [ImageName(data.identifiers[i], pixels_digest(data.images[i])) for i in chosen]
    usable = ~np.array(withdrawn_among(names, site.home))
    if not usable.all():
        progress.note(f"{class_name}: {int((~usable).sum())} withdrawn images are left out")
    kept = tuple(name for name, use in zip(names, usable, strict=True) if use)
    chosen = chosen[usable]
    distinct = len({name.pixels for name in kept})
    if distinct < MIN_IMAGES_PER_CLASS:
        raise DataError(
            f"class {class_name}: {distinct} distinct images among {len(kept)} are too few to "
            "train a generator",
            hint=f"a class needs at least {MIN_IMAGES_PER_CLASS}; with fewer every sample would "
            "be one of them",
        )
    if distinct < len(kept):
        progress.note(f"{class_name}: {len(kept) - distinct} images are exact copies of others")
    groups = [data.groups[index] for index in chosen]
    parts = hold_out(groups, [name.pixels for name in kept], options.seed)
    if parts.problem is not None:
        progress.note(
            f"{class_name}: nothing is held out and nothing can be audited: {parts.problem}"
        )
    return ChosenClass(class_name, data.images[chosen], kept, parts, data)


def site_classes(data: "LabelledImages", class_name: str) -> "SiteClasses | None":
    """Return the images of the site's other classes, None if there are none."""
    from client_agent.audit.audit import SiteClasses

    others = data.labels != data.classes.index(class_name)
    return SiteClasses(data.images[others], data.labels[others]) if others.any() else None


def pack_class(
    site: Site,
    what: ChosenClass,
    made: "Training",
    options: TrainOptions,
    progress: Progress,
) -> PackedModule:
    """Audit and pack what training gave; a crash costs nothing, its checkpoint stays until then.

    Raises:
        TrainingError: a weight is not finite.
        StorageError: the disk refused; the outbox is as it was.
    """
    trained = made.trained

    def measure(model: Path) -> "AuditResult | None":
        if not options.audit or not what.parts.held_out:
            return None
        return audit_trained(
            site,
            what.name,
            model,
            trained,
            what.training,
            what.held_out,
            what.others,
            options.seed,
            progress,
        )

    _tell(what.name, trained, progress)
    before = own_modules(site.home).get(what.name)
    replaced = describe_module(before)[0] if before is not None else None
    packed = pack_module(
        site,
        what.name,
        len(what.parts.trained_on),
        trained,
        options.terms,
        measure,
        lambda digest: keep_private(site.home, what.record(digest, options), trained),
    )
    remove_folder(site.home.training(what.name))
    if replaced not in (None, packed.digest) and not is_published(site, str(replaced)):
        forget_private(site.home, str(replaced))
    site.log.append(
        "trained",
        class_name=what.name,
        module=packed.digest,
        steps=trained.steps,
        seconds=round(trained.seconds),
        threads=made.threads,
        stopped_at=trained.stopped_at,
        audited=options.audit and what.parts.problem is None,
    )
    return packed


def _tell(class_name: str, trained: "TrainedGenerator", progress: Progress) -> None:
    for notice in trained.notices:
        progress.note(f"{class_name}: {notice}")
    if trained.stopped_at is not None:
        progress.note(
            f"{class_name}: stopped at step {trained.stopped_at}: it had begun to learn its images "
            f"by heart; the weights of step {trained.steps} are kept"
        )


def audit_trained(
    site: Site,
    class_name: str,
    model: Path,
    trained: "TrainedGenerator",
    training: np.ndarray,
    held_out: np.ndarray,
    others: "SiteClasses | None",
    seed: int,
    progress: Progress,
) -> "AuditResult":
    """Audit a module of this site, with a progress bar and its remarks; see `audit_module`."""
    from client_agent.audit.own_module import audit_module

    with progress.task(f"auditing {class_name}", 1) as task:
        found = audit_module(
            model,
            trained,
            training,
            held_out,
            spec=site.spec,
            federation_id=site.trust.federation_id,
            site_classes=others,
            seed=seed,
            on_progress=task.update,
        )
    for notice in (*found.notices, *([found.not_auditable] if found.not_auditable else [])):
        progress.note(f"{class_name}: {notice}")
    return found
