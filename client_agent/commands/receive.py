"""`ff-agent receive`."""

from typing import Any

import click

from client_agent.commands.common import Call, plain, site_command, wait_options


@site_command("receive")
@wait_options
@click.option(
    "--rebuild/--no-rebuild",
    default=True,
    show_default=True,
    help="After a revocation, rebuild data set and classifier at once.",
)
def command(call: Call, rebuild: bool, **values: Any) -> None:
    """Fetch what is new, check it, admit or refuse it.

    Revocations come first: what they name is deleted here with all that was made from it, and the
    classifier is rebuilt without it.
    """
    from client_agent.commands.options import make_wait
    from client_agent.steps.receive import receive
    from client_agent.steps.revoke import deliver_revocations, finish_unlearning

    site = call.site()
    progress = call.console.progress
    with site.exclusive():
        deliver_revocations(site, progress)
        received = receive(site, make_wait(values), progress)
        unlearned = finish_unlearning(site, progress) if rebuild else None

    def lines() -> None:
        print(f"{len(received.admitted)} modules admitted, {received.revocations} revocations")
        for text in received.warnings:
            print(f"WARNING: {text}")
        for subject, reason in received.refused.items():
            print(f"refused {subject[:12]}: {reason}")
        if unlearned is not None:
            print(f"{len(unlearned.modules)} modules forgotten; classifier is now "
                  f"{(unlearned.classifier or 'none')[:12]}")  # fmt: skip
            print(f"certificate: {unlearned.certificate}")
        elif received.pending is not None:
            print("revoked modules are deleted; run ff-agent fit to rebuild the classifier")

    document = plain(received)
    document["unlearned"] = None if unlearned is None else plain(unlearned)
    call.console.result(document, lines)
