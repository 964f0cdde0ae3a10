"""`ff-coordinator invite`: make a site's invitation file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("invite")
@click.argument("site")
@click.option("--endpoint", help="HOST:PORT at which the site reaches this coordinator.")
@click.option(
    "--valid", default="7d", show_default=True, help="How long it can be used: 12h, 7d ..."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write [default: invitation-SITE.json].",
)
def command(
    home: "CoordinatorHome",
    console: Console,
    site: str,
    endpoint: str | None,
    valid: str,
    output: Path | None,
) -> None:
    """Make an invitation for SITE (lower-case letters, digits, hyphens).

    The file is a secret, good for one use: give it to the site's admin by a safe way, and the root
    fingerprint by another.
    """
    from coordinator.errors import UsageError
    from coordinator.invitations import invite
    from ff_protocol.clock import utc_now
    from ff_protocol.durations import parse_duration
    from ff_protocol.errors import MalformedError
    from ff_protocol.names import check_site_id

    try:
        check_site_id(site)
    except MalformedError as error:
        raise UsageError(error.message, hint=error.hint) from error
    endpoint = endpoint or home.settings().endpoint
    if endpoint is None:
        raise UsageError(
            "--endpoint is missing", hint="give --endpoint HOST:PORT, here or once to init"
        )
    output = output or Path(f"invitation-{site}.json")
    invitation = invite(home, site, endpoint, output, lifetime=parse_duration(valid), now=utc_now())
    console.result(
        {
            "site": site,
            "invitation": str(output),
            "endpoint": endpoint,
            "expires_at": invitation.expires_at,
            "federation": invitation.federation_id,
            "fingerprint": invitation.fingerprint,
        },
        (
            f"Invitation for {site} in {output}, good for one use until {invitation.expires_at}",
            f"Root fingerprint (SHA-256): {invitation.fingerprint}",
            f"Next, at the site: ff-agent join {output.name} (and compare the fingerprint)",
        ),
    )
