"""`ff-agent scan`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client_agent.commands.common import Call, data_options, needed, plain, site_command

if TYPE_CHECKING:
    from client_agent.steps.scan import Scanned

_SHOWN = 10


@site_command("scan")
@data_options
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    help="Write a contact sheet of real images here (PNG, mode 0600): a row for each class.",
)
def command(call: Call, sheet: Path | None, **values: Any) -> None:
    """Look at images before training: classes, modalities, sizes, what will be refused and why.

    Reads headers only and writes nothing beside the images. Needs no home; in one, names are
    compared with the federation's classes. A second scan reads only what has changed.

    \b
    ff-agent scan --data /mnt/export
    ff-agent scan --data /mnt/export --label-tag BodyPartExamined --label-map map.yaml
    """
    from client_agent.commands.options import make_source_options
    from client_agent.steps.scan import ScanOptions, scan

    joined = call.home.site_file.is_file()
    options = ScanOptions(
        needed(values["data"], "--data"),
        values["labels"],
        make_source_options(values),
        values["split"],
        sheet,
    )
    scanned = scan(
        options,
        spec=call.site().spec if joined else None,
        index=call.home.scan_index if joined else None,
        progress=call.console.progress,
    )
    call.console.result(plain(scanned), lambda: _show(scanned, sheet))


def _show(scanned: "Scanned", sheet: Path | None) -> None:
    from client_agent.console import show_table

    figures = scanned.overview
    table = [
        [
            row.class_name,
            row.modality,
            row.files,
            row.images,
            f"{row.patients}" + (f" + {row.unknown_patients} ?" if row.unknown_patients else ""),
            _counted(row.sizes),
            _counted(_syntaxes(row.syntaxes)),
        ]
        for row in figures.rows
    ]
    if table:
        columns = ["class", "modality", "files", "images", "patients", "height x width", "syntax"]
        show_table("", columns, table)
    if figures.refused:
        rows = [[item.reason, item.files, item.examples[0]] for item in figures.refused]
        show_table("\nleft out", ["reason", "files", "for example"], rows)
    if figures.unmapped:
        rows = [
            [name or "(empty)", count] for name, count in list(figures.unmapped.items())[:_SHOWN]
        ]
        show_table("\nof no class", ["name", "images"], rows)
        if len(figures.unmapped) > _SHOWN:
            print(f"... and {len(figures.unmapped) - _SHOWN} more names")
        print("map them with --label-map; configs/label-map.example.yaml shows how")
    _list("with two labels", figures.conflicts)
    _list("one SOP Instance UID, two patients", figures.shared_uids)
    _list("rows of the table without an image", figures.absent)
    for remark in (*scanned.warnings, *figures.remarks):
        print(f"note: {remark}")
    if scanned.other_files:
        kinds = ", ".join(f"{name} ({count})" for name, count in scanned.other_files.items())
        print(f"other files: {kinds[:200]}")
    if not scanned.of_federation:
        print("no home of a federation here: names are taken as classes")
    known = f", {scanned.known} of them known already" if scanned.known else ""
    print(f"{scanned.files} image files in {scanned.seconds:.1f} s{known}")
    if sheet is not None:
        rows_text = ", ".join(scanned.sheet_rows) or "no class has a readable image"
        print(f"contact sheet {sheet}, real images, do not share: {rows_text}")


def _counted(items: Sequence[tuple[str, int]], shown: int = 3) -> str:
    if len(items) == 1:
        return items[0][0]
    text = ", ".join(f"{name} ({count})" for name, count in items[:shown])
    return text + (f" and {len(items) - shown} more" if len(items) > shown else "")


def _list(title: str, lines: tuple[str, ...]) -> None:
    if not lines:
        return
    print(f"\n{title}: {len(lines)}")
    for line in lines[:_SHOWN]:
        print(f"  {line}")
    if len(lines) > _SHOWN:
        print(f"  ... and {len(lines) - _SHOWN} more")


def _syntaxes(found: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Name transfer syntaxes without the legalese."""
    from pydicom.uid import UID

    named: Counter[str] = Counter()
    for uid, count in found:
        name = UID(uid).name.partition(",")[0].partition(" (")[0]
        named[name.replace(" Image Compression", "")] += count
    return named.most_common()
