"""`ff-agent trust`."""

import click

from client_agent.commands.common import Call, site_command


@site_command("trust")
@click.argument("name", metavar="SITE")
@click.option("--not", "withdraw", is_flag=True, help="Ask again about its modules.")
def command(call: Call, name: str, withdraw: bool) -> None:
    """Admit a site's modules without asking, where policy.yaml says `mode: manual`.

    Every rule is applied to them all the same. Modules that wait already go on waiting: ff-agent
    admit. The list is kept in trust.json in the home; policy.yaml may name trusted sites, too.
    """
    from client_agent.steps.decide import trust

    site = call.site()
    with site.exclusive():
        trusted = sorted(trust(site, name, trusted=not withdraw))
    call.console.result(
        {"trusted": trusted}, lambda: print(f"trusted: {', '.join(trusted) or 'no site'}")
    )
