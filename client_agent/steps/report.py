"""Write the report: one HTML page about this site's classifier and all that it was made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.sources.location import Location
from client_agent.sources.options import NOTHING_SAID, SourceOptions
from client_agent.steps.reading import read_labelled, recipe_of
from client_agent.steps.report_content import gather
from ff_protocol.files import write_atomically

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages


@dataclass(frozen=True)
class Reported:
    """What `report` did.

    Attributes:
        path: of the page.
        edition: `local` or `shareable`.
        bytes: of the page.
        real_images: number of real images on it; 0 in the shareable edition.
        measured: number of labelled images that the results rest on; 0 without `--data`.
        skipped: unreadable images, identifier and reason.
    """

    path: Path
    edition: str
    bytes: int
    real_images: int
    measured: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReportOptions:
    """What `report` may be told.

    Attributes:
        output: the file to write.
        data: labelled images to measure the classifier on; None leaves the results out.
        labels: CSV with labels for DICOM files.
        source: whatever else there is to say of the images.
        split: which split of an `.npz`.
        shareable: leave out every real image and exact counts of them.
    """

    output: Path
    data: Location | None = None
    labels: Path | None = None
    source: SourceOptions = NOTHING_SAID
    split: str = "test"
    shareable: bool = False


def report(site: Site, options: ReportOptions, progress: Progress = SILENT) -> Reported:
    """Write the report; nothing in the home changes.

    Raises:
        DataError: `data` holds no usable labelled images.
        StorageError: the disk refused.
    """
    from client_agent.report.page import render

    loaded = _load(site, options, progress) if options.data is not None else None
    with progress.task("writing the report", 1) as task:
        content = gather(site, loaded, shareable=options.shareable)
        page = render(content).encode()
        # The local edition may show patients.
        write_atomically(options.output, page, mode=0o644 if options.shareable else 0o600)
        task.update(1)
    skipped = () if loaded is None else loaded.skipped
    return Reported(
        path=options.output,
        edition=content.edition,
        bytes=len(page),
        real_images=content.real_images,
        measured=0 if content.results is None else content.results.images,
        skipped=tuple((item.identifier, item.reason) for item in skipped),
    )


def _load(site: Site, options: ReportOptions, progress: Progress) -> "LabelledImages":
    assert options.data is not None
    return read_labelled(
        site,
        options.data,
        recipe_of(site),
        labels=options.labels,
        source=options.source,
        split=options.split,
        progress=progress,
    )
