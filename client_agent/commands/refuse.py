"""`ff-agent refuse`."""

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("refuse")
@click.argument("module")
@click.option("--reason", default="", help="Stays in this home.")
@click.option("--undo", is_flag=True, help="Have a refused module fetched and judged again.")
def command(call: Call, module: str, reason: str, undo: bool) -> None:
    """Delete a module that waits for a decision; what is left is the record.

    MODULE is a digest, or its first 8 digits or more. A refused module is not fetched again, unless
    --undo forgets the refusal, by whichever rule it was. A module that is in use is taken out with
    ff-agent revoke.
    """
    from client_agent.errors import UsageError
    from client_agent.steps.decide import reconsider, refuse

    if undo and reason:
        raise UsageError("--undo takes no --reason")
    site = call.site()
    with site.exclusive():
        decided = reconsider(site, module) if undo else refuse(site, module, reason)
    name = f"{decided.digest[:12]} ({decided.class_name} of {decided.site_id})"

    def lines() -> None:
        print(f"{name} is not refused any more; next: ff-agent receive" if undo
              else f"refused and deleted: {name}")  # fmt: skip

    call.console.result(plain(decided), lines)
