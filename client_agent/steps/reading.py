"""Labelled images, read and prepared the one way that the federation agreed on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.sources.options import NOTHING_SAID, SourceOptions, agree

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages


def read_labelled(
    site: Site,
    data: Location,
    *,
    labels: Path | None = None,
    source: SourceOptions = NOTHING_SAID,
    classes: Sequence[str] | None = None,
    split: str = "train",
    progress: Progress = SILENT,
) -> "LabelledImages":
    """Read and prepare images by the federation spec.

    Args:
        site: for whom.
        data: where they lie.
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

    agreed = site.spec.preparation
    rendering, warnings = agree(source, agreed.window_rule, agreed.frame_rule)
    for warning in warnings:
        progress.note(warning)
    with progress.task("reading images", 1) as task:
        found = load_images(
            data,
            classes=site.spec.classes,
            image_size=site.spec.image.size,
            channels=site.spec.image.channels,
            only_classes=classes,
            labels_csv=labels,
            label_map=source.label_map,
            label_tag=source.label_tag,
            split=split,
            rendering=rendering,
            index=HeaderIndex(site.home.scan_index),
            on_progress=lambda done, total: task.update(done / max(total, 1), f"{done}/{total}"),
        )
    if found.skipped:
        names = ", ".join(item.identifier for item in found.skipped[:5])
        progress.note(f"{len(found.skipped)} images left out: {names} ({found.skipped[0].reason})")
    return found
