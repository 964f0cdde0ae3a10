"""One class from images to module: part, train, audit, pack.

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
from client_agent.policy.file import read_policy
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
from ff_protocol import canonical
from ff_protocol.durations import format_duration
from ff_protocol.manifest import describe_module

if TYPE_CHECKING:
    from client_agent.audit.audit import AuditResult, SiteClasses
    from client_agent.generator.training import TrainedGenerator, TrainingProgress
    from client_agent.sources.labelled import LabelledImages


@dataclass(frozen=True, eq=False)
class ChosenClass:
    """One class as it goes into training.

    Attributes:
        name: of the class.
        images: uint8 [n, H, W, C], without withdrawn ones.
        names: of the images, [n].
        parts: which are trained on and which held out.
        others: the site's other classes.
    """

    name: str
    images: np.ndarray
    names: tuple[ImageName, ...]
    parts: HoldOut
    others: "SiteClasses | None"

    @property
    def training(self) -> np.ndarray:
        """What is trained on."""
        return self.images[list(self.parts.trained_on)]

    @property
    def held_out(self) -> np.ndarray:
        """What is kept aside."""
        return self.images[list(self.parts.held_out)]

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
    return ChosenClass(class_name, data.images[chosen], kept, parts, site_classes(data, class_name))


def site_classes(data: "LabelledImages", class_name: str) -> "SiteClasses | None":
    """Return the images of the site's other classes, None if there are none."""
    from client_agent.audit.audit import SiteClasses

    others = data.labels != data.classes.index(class_name)
    return SiteClasses(data.images[others], data.labels[others]) if others.any() else None


def train_class(
    site: Site, what: ChosenClass, options: TrainOptions, progress: Progress
) -> PackedModule:
    """Train and pack; interrupted, a rerun continues from the last checkpoint.

    Raises:
        TrainingError: the loss is not finite.
        StorageError: the disk refused; the outbox is as it was.
    """
    trained, folder = _trained(site, what, options, progress)

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
    remove_folder(folder)
    if replaced not in (None, packed.digest) and not is_published(site, str(replaced)):
        forget_private(site.home, str(replaced))
    site.log.append(
        "trained",
        class_name=what.name,
        module=packed.digest,
        steps=trained.steps,
        seconds=round(trained.seconds),
        stopped_at=trained.stopped_at,
        audited=options.audit and what.parts.problem is None,
    )
    return packed


def _trained(
    site: Site, what: ChosenClass, options: TrainOptions, progress: Progress
) -> tuple["TrainedGenerator", Path]:
    """Train, or go on from the checkpoint; return the generator and the checkpoint's folder."""
    from client_agent.generator.training import train_generator

    most_membership = None
    if options.audit:
        release = read_policy(site.home).release
        most_membership = release.most_membership(len(what.parts.trained_on))
    preset, budget, privacy = options.recipe(site.spec)
    # The checkpoint's name covers all that must be equal for it to be continued.
    settings = {
        "class": what.name,
        "images": canonical.sha256_hex(np.ascontiguousarray(what.images).tobytes()),
        "held_out": what.parts.held_out,
        "most_membership": most_membership,
        "preset": preset.to_dict(),
        "privacy": privacy,
        "seconds": budget.seconds,
        "seed": options.seed,
        "steps": budget.steps,
    }
    fingerprint = canonical.sha256_hex(repr(sorted(settings.items())).encode())[:16]
    folder = site.home.training(what.name)
    checkpoint = folder / f"{fingerprint}.pt"
    if checkpoint.is_file():
        progress.note(f"{what.name}: going on from its checkpoint")
    with progress.task(f"training {what.name}", 1) as task:

        def show(now: "TrainingProgress") -> None:
            remark = f"loss {now.loss:.4f} · {now.images_per_second:.0f} images/s"
            task.update(now.fraction, f"{remark} · {format_duration(now.seconds_left)} left")

        try:
            trained = train_generator(
                what.training,
                preset=preset,
                seed=options.seed,
                budget=budget,
                held_out=what.held_out if what.parts.held_out else None,
                most_membership=most_membership,
                checkpoint=checkpoint,
                device=options.device,
                threads=options.threads,
                privacy=privacy,
                on_progress=show,
            )
        except DataError as error:
            raise DataError(f"class {what.name}: {error.message}", hint=error.hint) from error
    for notice in trained.notices:
        progress.note(f"{what.name}: {notice}")
    if trained.stopped_at is not None:
        progress.note(
            f"{what.name}: stopped at step {trained.stopped_at}: it had begun to learn its images "
            f"by heart; the weights of step {trained.steps} are kept"
        )
    return trained, folder


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
