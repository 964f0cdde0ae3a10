"""`ff-coordinator gc`: delete chunks that no module needs."""

from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("gc")
@click.option(
    "--grace",
    default="7d",
    show_default=True,
    help="How long chunks that were never published stay: at least 1d.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted; delete nothing.")
def command(home: "CoordinatorHome", console: Console, grace: str, dry_run: bool) -> None:
    """Delete chunks of revoked modules, and chunks that were never published.

    Safe beside running servers and transfers, on any machine that reaches the store; run it daily.
    Chunks of revoked modules go an hour after they were last written.
    """
    from coordinator.collection import Collection
    from coordinator.store import open_store
    from coordinator.store_format import check_store
    from ff_protocol.durations import parse_duration

    seconds = parse_duration(grace).total_seconds()
    store = open_store(home)
    check_store(store)
    collection = Collection(store, home.trust(), grace=seconds)
    done = collection.preview() if dry_run else collection.run()
    verb = "would be deleted" if dry_run else "deleted"
    console.result(
        {
            "dry_run": dry_run,
            "revoked_chunks": done.revoked,
            "unpublished_chunks": done.unpublished,
            "bytes": done.freed,
            "spared": done.spared,
            "live_chunks": done.live,
        },
        (
            f"Chunks of revoked modules   {done.revoked} {verb}",
            f"Chunks never published      {done.unpublished} {verb}",
            f"Space                       {done.freed / 2**20:.1f} MiB",
            f"Chunks of modules in use    {done.live}",
        ),
    )
