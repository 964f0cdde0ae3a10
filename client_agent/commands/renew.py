"""`ff-agent renew`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("renew")
@click.option("--all", "everything", is_flag=True, help="Both certificates, due or not.")
@click.option(
    "--invitation",
    type=click.Path(path_type=Path),
    help="Exchange a new invitation: for a site whose certificates have expired.",
)
def command(call: Call, everything: bool, invitation: Path | None) -> None:
    """Get new certificates for new keys before the old ones expire.

    `run`, `send` and `receive` do this by themselves when less than a third of a certificate's life
    or 30 days are left. The old certificates stay in use until the new ones are here and checked;
    what they signed stays valid.
    """
    from client_agent.steps.renew import renew, renew_with_invitation

    site = call.site()
    with site.exclusive():
        done = (
            renew(site, everything=everything)
            if invitation is None
            else renew_with_invitation(site, invitation)
        )

    def lines() -> None:
        print(f"renewed: {' and '.join(done.renewed) or 'nothing is due (--all renews both)'}")
        for name, item in done.certificates.items():
            print(f"{name} certificate: {item.days} days left, until {item.until}")

    call.console.result(plain(done), lines)
