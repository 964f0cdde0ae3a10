"""`ff-coordinator expel`: refuse a site from now on."""

from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("expel")
@click.argument("site")
@click.option("--reason", default="", help="For the operator's own record.")
@click.option("--undo", is_flag=True, help="Take the expulsion back.")
def command(home: "CoordinatorHome", console: Console, site: str, reason: str, undo: bool) -> None:
    """Refuse SITE on every replica within a second, running transfers included.

    The list is in the store: no server needs to be told. The site's modules stay with the others
    until they are revoked.
    """
    from coordinator.membership import expel, readmit
    from coordinator.store import open_store
    from ff_protocol.clock import utc_now

    store = open_store(home)
    changed = readmit(store, site) if undo else expel(store, site, reason, utc_now())
    state = "may take part again" if undo else "is expelled"
    console.result(
        {"site": site, "expelled": not undo, "already": not changed},
        (f"{site} {state}" + ("" if changed else " (as before)"),),
    )
