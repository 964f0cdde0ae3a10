"""`ff-coordinator expel`: refuse a site from now on."""

from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("expel")
@click.argument("site")
@click.option("--reason", default="", help="For the record, and the other sites' admins.")
@click.option("--undo", is_flag=True, help="Take the expulsion back.")
@click.option(
    "--revoke-modules", is_flag=True, help="Have every site forget what SITE has published."
)
def command(
    home: "CoordinatorHome",
    console: Console,
    site: str,
    reason: str,
    undo: bool,
    revoke_modules: bool,
) -> None:
    """Refuse SITE on every replica within a second and tell the other sites.

    Running transfers are ended. The list is in the store: no server needs to be told. The other
    sites take a signed member list at their next receive, and refuse what SITE publishes after its
    expulsion. What it published before stays in use unless --revoke-modules is given; --undo does
    not bring that back.
    """
    from coordinator.errors import UsageError
    from coordinator.expulsion import expel_site, readmit_site
    from coordinator.store import open_store
    from ff_protocol.clock import utc_now

    if undo and revoke_modules:
        raise UsageError("--undo revokes nothing", hint="give one of them")
    store = open_store(home)
    done = (
        readmit_site(home, store, site, utc_now())
        if undo
        else expel_site(home, store, site, reason, utc_now(), revoke_modules=revoke_modules)
    )
    told = done.members is not None and (site in done.members.sites()) is not undo
    state = "may take part again" if undo else "is expelled"
    lines = [f"{site} {state}" + ("" if done.changed else " (as before)")]
    if done.revoked:
        lines.append(f"{len(done.revoked)} of its modules are revoked")
    if not told:
        lines.append(
            "The other sites are not told yet: run this where authority/signing.key is, or serve"
        )
    console.result(
        {
            "site": site,
            "expelled": not undo,
            "already": not done.changed,
            "revoked": list(done.revoked),
            "told": told,
        },
        lines,
    )
