"""`ff-agent join`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("join")
@click.argument("invitation", type=click.Path(path_type=Path))
@click.option(
    "--connect",
    "connect_to",
    metavar="HOST:PORT",
    help="Dial this address; the certificate must still carry the invitation's name.",
)
@click.option("--proxy", metavar="URL", help="Pass this HTTP proxy: http://HOST:PORT.")
def command(call: Call, invitation: Path, connect_to: str | None, proxy: str | None) -> None:
    """Join a federation with an invitation file.

    Makes this site's private keys in the home (they never leave it) and exchanges INVITATION, made
    by the operator's `ff-coordinator invite SITE`, for two certificates. Compare the fingerprint
    that is printed with the operator's, by telephone. --connect and --proxy are kept in site.yaml;
    proxy variables of the environment are never followed.
    """
    from client_agent.steps.join import join

    joined = join(invitation, call.home, connect_to=connect_to, proxy=proxy)

    def lines() -> None:
        verb = "had joined" if joined.already else "joined"
        print(f"{joined.site_id} {verb} {joined.federation_name} ({joined.federation_id})")
        print(f"root fingerprint: {joined.fingerprint}")
        print(f"classes: {', '.join(joined.classes)}")
        print("next: ff-agent run --data PATH")

    call.console.result(plain(joined), lines)
