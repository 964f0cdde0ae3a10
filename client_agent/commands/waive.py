"""`ff-agent waive`."""

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("waive")
@click.argument("class_name", metavar="CLASS")
@click.option("--reason", required=True, help="Signed into the card: every site can read it.")
def command(call: Call, class_name: str, reason: str) -> None:
    """Release a module although its audit fails this site's policy.

    The decision is yours and stays visible: reason and failing figures are signed into the card,
    which gives the module a new identity, and noted in the record. Impossible once it is published.
    """
    from client_agent.steps.release import waive

    site = call.site()
    with site.exclusive():
        waived = waive(site, class_name, reason)

    def lines() -> None:
        print(f"{class_name}: waived {', '.join(waived.figures)}")
        print(f"module {waived.digest[:12]} (was {waived.replaced[:12]})")
        print("next: ff-agent send")

    call.console.result(plain(waived), lines)
