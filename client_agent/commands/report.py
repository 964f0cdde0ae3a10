"""`ff-agent report`."""

from pathlib import Path
from typing import Any

import click

from client_agent.commands.common import Call, data_options, given, plain, site_command


@site_command("report")
@data_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--shareable",
    is_flag=True,
    help="Leave out every real image and every exact count of this site's images.",
)
def command(call: Call, output: Path, shareable: bool, **values: Any) -> None:
    """Write one HTML page about this site's classifier and all that it was made of.

    A summary in plain words, results with intervals, images, audit, provenance, unlearning. The
    page needs no network and prints. With labelled images (--data) it shows what the classifier
    makes of them, and real images beside synthetic ones: such a page stays in the house, and
    --shareable makes the one for others. Not a medical device.
    """
    from client_agent.commands.options import make_source_options
    from client_agent.steps.report import ReportOptions, report

    # Training images in config.yaml are no test of anything.
    options = ReportOptions(
        output,
        data=values["data"] if given("data") else None,
        labels=values["labels"],
        source=make_source_options(values),
        split=values["split"] if values["split"] is not None and given("split") else "test",
        shareable=shareable,
    )
    done = report(call.site(), options, call.console.progress)

    def lines() -> None:
        print(f"{done.edition} edition written to {done.path} ({done.bytes / 1000:,.0f} kB)")
        if done.real_images:
            print(f"it shows {done.real_images} real images: keep it inside this site")
        if not done.measured:
            print("without results: ff-agent report --data PATH measures the classifier")
        if done.skipped:
            print(f"{len(done.skipped)} unreadable images skipped")

    call.console.result(plain(done), lines)
