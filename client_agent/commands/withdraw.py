"""`ff-agent withdraw`."""

from pathlib import Path
from typing import Any

import click

from client_agent.commands.common import LOCATION, Call, plain, site_command


@site_command("withdraw")
@click.option(
    "--images",
    "listed",
    type=click.Path(path_type=Path),
    required=True,
    help="File that names them, one a line: SOP Instance UID, path, or SHA-256.",
)
@click.option(
    "--data",
    type=LOCATION,
    help="Where this site's images lie [default: where they were trained from].",
)
@click.option("--reason", default="", help="Goes into the signed statement; no patient data.")
@click.option("--dry-run", is_flag=True, help="Show which modules they are in; change nothing.")
@click.option("--skip-unknown", is_flag=True, help="Go on although some names are unknown here.")
def command(
    call: Call,
    listed: Path,
    data: Any,
    reason: str,
    dry_run: bool,
    skip_unknown: bool,
) -> None:
    """A patient withdraws: train this site's modules again without some images.

    Shows which modules the images are in, trains those classes again without them, and replaces the
    modules in the whole federation with one signed statement: every site drops the old ones and
    takes the new ones in one step. Where fewer than 16 images are left, the class's module is
    revoked without a successor. The images stay marked: no later training uses them. Which image
    went into which module is known at this site alone. Interrupted, run it again.
    """
    from client_agent.sources.naming import read_names
    from client_agent.steps.withdraw import withdraw

    site = call.site()
    with site.exclusive():
        done = withdraw(
            site,
            read_names(listed),
            data=data,
            reason=reason,
            look_only=dry_run,
            skip_unknown=skip_unknown,
            progress=call.console.progress,
        )

    def lines() -> None:
        print(f"{done.images} images found")
        for item in done.affected:
            print(f"  {item.withdrawn} of {item.images} images of module {item.module[:12]} "
                  f"({item.class_name})")  # fmt: skip
        for name in done.unknown:
            print(f"  unknown here: {name[:100]}")
        for class_name, digest in done.successors.items():
            print(f"{class_name}: trained again without them, now {digest[:12]}")
        if done.statement is not None:
            print(f"signed statement {done.statement[:16]}")
            if not done.relayed:
                print("the others are not told yet: run ff-agent send when the coordinator answers")
        if done.unlearned is not None:
            print(f"certificate: {done.unlearned.certificate}")

    call.console.result(plain(done), lines)
