"""Images as a step needs them: read and prepared the one way that the federation agreed on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.preparation.dicom_rules import Rendering
from client_agent.preparation.prepare import Recipe
from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.sources.options import NOTHING_SAID, SourceOptions, agree

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages, UnlabelledImages
    from client_agent.steps.train_options import TrainOptions


def recipe_of(site: Site) -> Recipe:
    """Return the preparation that the federation spec demands."""
    image, agreed = site.spec.image, site.spec.preparation
    return Recipe(image.size, image.channels, agreed.window_rule, agreed.frame_rule)


def read_labelled(
    site: Site,
    data: Location,
    recipe: Recipe,
    *,
    labels: Path | None = None,
    source: SourceOptions = NOTHING_SAID,
    classes: Sequence[str] | None = None,
    split: str = "train",
    progress: Progress = SILENT,
) -> "LabelledImages":
    """Read and prepare labelled images.

    Args:
        site: for whom.
        data: where they lie.
        recipe: how to prepare them: the spec's, or that of the classifier in use.
        labels: table of labels.
        source: whatever else there is to say of them.
        classes: take these alone.
        split: which split of an `.npz`.
        progress: watches, and hears what is left out.

    Raises:
        DataError: see `load_images`. UsageError: options that cannot work together.
    """
    from client_agent.sources.index import HeaderIndex
    from client_agent.sources.load import load_images

    rendering, warnings = agree(source, recipe.window, recipe.frame)
    for warning in warnings:
        progress.note(warning)
    with progress.task("reading images", 1) as task:
        found = load_images(
            data,
            classes=site.spec.classes,
            image_size=recipe.image_size,
            channels=recipe.channels,
            only_classes=classes,
            labels_csv=labels,
            label_map=source.label_map,
            label_tag=source.label_tag,
            split=split,
            rendering=rendering,
            index=HeaderIndex(site.home.scan_index),
            on_progress=lambda done, total: task.update(done / max(total, 1), f"{done}/{total}"),
        )
    _say_skipped(found, progress)
    return found


def read_training_images(
    site: Site, options: "TrainOptions", progress: Progress = SILENT
) -> "LabelledImages":
    """Read what `train` is told to train on; reading it again gives the same images.

    Raises:
        DataError, UsageError: see `read_labelled`.
    """
    return read_labelled(
        site,
        options.data,
        recipe_of(site),
        labels=options.labels,
        source=options.source,
        classes=options.classes,
        split=options.split,
        progress=progress,
    )


def read_unlabelled(
    data: Location, recipe: Recipe, *, split: str = "test", progress: Progress = SILENT
) -> "UnlabelledImages":
    """Read and prepare images whose classes need not be known.

    Raises:
        DataError: see `load_unlabelled`.
    """
    from client_agent.sources.load import load_unlabelled

    with progress.task("reading images", 1) as task:
        found = load_unlabelled(
            data,
            image_size=recipe.image_size,
            channels=recipe.channels,
            split=split,
            # Nothing is learnt from these: what is written in them goes nowhere.
            rendering=Rendering(recipe.window, recipe.frame, allow_burned_in=True),
            on_progress=lambda done, total: task.update(done / max(total, 1), f"{done}/{total}"),
        )
    _say_skipped(found, progress)
    return found


def _say_skipped(found: "LabelledImages | UnlabelledImages", progress: Progress) -> None:
    reasons = Counter(item.reason for item in found.skipped)
    for reason, count in reasons.most_common(5):
        first = next(item.identifier for item in found.skipped if item.reason == reason)
        progress.note(f"{count} images left out: {reason} (the first is {first})")
    if len(reasons) > 5:
        rest = sum(count for _, count in reasons.most_common()[5:])
        progress.note(f"{rest} more images left out for {len(reasons) - 5} other reasons")
