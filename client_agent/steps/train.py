"""Train one generator per class that this site holds, and put each as a module in the outbox."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from client_agent.errors import DataError, UsageError
from client_agent.module.packing import PackedModule, pack_module
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules, remove_folder
from client_agent.registry.statements import published_modules
from client_agent.registry.training_images import (
    ImageName,
    TrainingImages,
    pixels_digest,
    store_training_images,
    withdrawn_among,
)
from client_agent.site import Site
from client_agent.sources.location import Location, remembered
from client_agent.sources.options import NOTHING_SAID, SourceOptions, agree
from ff_protocol import canonical
from ff_protocol.durations import format_duration

if TYPE_CHECKING:
    from client_agent.generator.training import TrainingProgress
    from client_agent.sources.labelled import LabelledImages


DEFAULT_SECONDS = {"tiny": 600.0, "small": 3600.0, "large": 14400.0}
"""Training time per class where neither --budget nor --steps is given, by preset."""


@dataclass(frozen=True)
class TrainOptions:
    """What `train` may be told.

    Attributes:
        data: DICOM tree, DICOMDIR, class folders, MedMNIST-style `.npz`, or a DICOMweb server.
        labels: CSV with labels for DICOM files.
        source: whatever else there is to say of the images.
        classes: the classes to take from `data`; None takes all that are there.
        split: which split of an `.npz`.
        seconds: time budget per class; None with `steps` None takes the preset's default.
        steps: step budget per class.
        seed: of initialisation, order and noise.
        threads: compute threads; None takes all cores.
        device: `auto` takes a CUDA device if there is one.
        retrain: train classes again that have a module or were revoked.
    """

    data: Location
    labels: Path | None = None
    source: SourceOptions = NOTHING_SAID
    classes: tuple[str, ...] | None = None
    split: str = "train"
    seconds: float | None = None
    steps: int | None = None
    seed: int = 0
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    retrain: bool = False


@dataclass(frozen=True)
class Trained:
    """What `train` did.

    Attributes:
        modules: modules made now.
        kept: classes left as they were, with the reason.
        skipped: unreadable images, identifier and reason.
    """

    modules: tuple[PackedModule, ...]
    kept: dict[str, str]
    skipped: tuple[tuple[str, str], ...]


def train(site: Site, options: TrainOptions, progress: Progress = SILENT) -> Trained:
    """Train and pack; interrupted, a rerun continues from the last checkpoint.

    Raises:
        DataError: no usable images, an unknown or empty class, too many unreadable files.
        TrainingError: the loss is not finite.
        UsageError: both budgets missing or contradictory.
    """
    if options.seconds is not None and options.seconds <= 0:
        raise UsageError("the training budget must be positive")
    data = _read(site, options, progress)
    counts = np.bincount(data.labels, minlength=len(data.classes))
    present = [name for name, count in zip(data.classes, counts, strict=True) if count]
    kept = _kept_classes(site, present, retrain=options.retrain)
    modules = []
    for name in present:
        if name in kept:
            progress.note(f"{name}: {kept[name]}")
            continue
        names, images = _usable(site, data, name, progress)
        modules.append(_train_class(site, name, images, names, options, progress))
    skipped = tuple((item.identifier, item.reason) for item in data.skipped)
    return Trained(tuple(modules), kept, skipped)


def _read(site: Site, options: TrainOptions, progress: Progress) -> "LabelledImages":
    from client_agent.sources.index import HeaderIndex
    from client_agent.sources.load import load_images

    agreed = site.spec.preparation
    rendering, warnings = agree(options.source, agreed.window_rule, agreed.frame_rule)
    for warning in warnings:
        progress.note(warning)
    with progress.task("reading images", 1) as task:
        data = load_images(
            options.data,
            classes=site.spec.classes,
            image_size=site.spec.image.size,
            channels=site.spec.image.channels,
            only_classes=options.classes,
            labels_csv=options.labels,
            label_map=options.source.label_map,
            label_tag=options.source.label_tag,
            split=options.split,
            rendering=rendering,
            index=HeaderIndex(site.home.scan_index),
            on_progress=lambda done, total: task.update(done / max(total, 1), f"{done}/{total}"),
        )
    if data.skipped:
        names = ", ".join(item.identifier for item in data.skipped[:5])
        progress.note(f"{len(data.skipped)} images left out: {names} ({data.skipped[0].reason})")
    return data


def _usable(
    site: Site, data: "LabelledImages", class_name: str, progress: Progress
) -> tuple[tuple[ImageName, ...], np.ndarray]:
    """A class's images without those that were withdrawn: names, and uint8 [n, H, W, C]."""
    chosen = np.flatnonzero(data.labels == data.classes.index(class_name))
    names = [ImageName(data.identifiers[i], pixels_digest(data.images[i])) for i in chosen]
    usable = ~np.array(withdrawn_among(names, site.home))
    if not usable.all():
        progress.note(f"{class_name}: {int((~usable).sum())} withdrawn images are left out")
    kept = tuple(name for name, use in zip(names, usable, strict=True) if use)
    return kept, data.images[chosen[usable]]


def _kept_classes(site: Site, present: list[str], *, retrain: bool) -> dict[str, str]:
    """Classes that `train` leaves alone, with the reason."""
    if retrain:
        return {}
    kept = {name: "has a module already" for name in own_modules(site.home) if name in present}
    for publication in published_modules(site, of_site=site.site_id):
        if publication.class_name in present and publication.class_name not in kept:
            kept[publication.class_name] = (
                "its module was revoked; use --retrain to make and publish a successor"
            )
    return kept


def _train_class(
    site: Site,
    name: str,
    images: np.ndarray,
    names: tuple[ImageName, ...],
    options: TrainOptions,
    progress: Progress,
) -> PackedModule:
    from client_agent.generator.presets import preset_for
    from client_agent.generator.training import Budget, train_generator

    preset = preset_for(site.spec.preset, site.spec.image.size, site.spec.image.channels)
    seconds = options.seconds
    if seconds is None and options.steps is None:
        seconds = DEFAULT_SECONDS[preset.name]
    # The checkpoint's name covers all that must be equal for it to be continued.
    settings = {
        "class": name,
        "images": canonical.sha256_hex(np.ascontiguousarray(images).tobytes()),
        "preset": preset.to_dict(),
        "seconds": seconds,
        "seed": options.seed,
        "steps": options.steps,
    }
    fingerprint = canonical.sha256_hex(repr(sorted(settings.items())).encode())[:16]
    checkpoint = site.home.training(name) / f"{fingerprint}.pt"
    if checkpoint.is_file():
        progress.note(f"{name}: going on from its checkpoint")
    with progress.task(f"training {name}", 1) as task:

        def show(now: "TrainingProgress") -> None:
            remark = f"loss {now.loss:.4f} · {now.images_per_second:.0f} images/s"
            task.update(now.fraction, f"{remark} · {format_duration(now.seconds_left)} left")

        try:
            trained = train_generator(
                images,
                preset=preset,
                seed=options.seed,
                budget=Budget(seconds=seconds, steps=options.steps),
                checkpoint=checkpoint,
                device=options.device,
                threads=options.threads,
                on_progress=show,
            )
        except DataError as error:
            raise DataError(f"class {name}: {error.message}", hint=error.hint) from error
    for notice in trained.notices:
        progress.note(f"{name}: {notice}")

    def remember(digest: str) -> None:
        record = TrainingImages(digest, name, _remembered(options), names)
        store_training_images(site.home, record)

    packed = pack_module(site, name, len(images), trained, remember)
    remove_folder(site.home.training(name))
    site.log.append(
        "trained",
        class_name=name,
        module=packed.digest,
        steps=trained.steps,
        seconds=round(trained.seconds),
    )
    return packed


def _remembered(options: TrainOptions) -> dict[str, Any]:
    """What it takes to train the class again, as JSON values; stays in this home."""
    return {
        "data": remembered(options.data),
        "labels": None if options.labels is None else str(options.labels.absolute()),
        "source": options.source.to_json(),
        "split": options.split,
        "seconds": options.seconds,
        "steps": options.steps,
        "seed": options.seed,
        "threads": options.threads,
        "device": options.device,
    }
