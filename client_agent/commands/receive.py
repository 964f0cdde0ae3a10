"""`ff-agent receive`."""

import time
from typing import Any

import click

from client_agent.commands.common import Call, given, plain, site_command, wait_options


@site_command("receive")
@wait_options
@click.option(
    "--watch",
    is_flag=True,
    help="Go on receiving as others publish, until Ctrl-C or SIGTERM (or --timeout).",
)
@click.option(
    "--rebuild/--no-rebuild",
    default=True,
    show_default=True,
    help="After a revocation, rebuild data set and classifier at once.",
)
def command(call: Call, watch: bool, rebuild: bool, **values: Any) -> None:
    """Fetch what is new, check it, admit or refuse it.

    Revocations come first: what they name is deleted here with all that was made from it, and the
    classifier is rebuilt without it. What is here already is not fetched again, and an interrupted
    download goes on from its last whole chunk.
    """
    from client_agent.commands.options import make_wait, timeout_of
    from client_agent.errors import UsageError
    from client_agent.steps.receive import Received, receive
    from client_agent.steps.revoke import deliver_revocations, finish_unlearning
    from client_agent.steps.watch import watch as watch_relay
    from client_agent.text import say

    wait, seconds = make_wait(values), timeout_of(values)
    if watch and wait is not None:
        raise UsageError("--watch and --wait are two ways of waiting", hint="give one of them")
    if not watch and wait is None and given("timeout"):
        raise UsageError(
            "--timeout limits waiting, and nothing is waited for",
            hint="add --wait N, or --watch, or leave --timeout out",
        )
    site = call.site()
    progress = call.console.progress
    unlearned = None
    with site.exclusive():
        deliver_revocations(site, progress)

    def came(part: Received) -> None:
        nonlocal unlearned
        progress.note(
            f"{len(part.admitted)} admitted, {len(part.waiting)} waiting, "
            f"{part.revocations} revocations"
        )
        if rebuild:
            unlearned = finish_unlearning(site, progress) or unlearned

    if watch:
        until = None
        if seconds is not None and given("timeout"):
            until = time.monotonic() + seconds
        received = watch_relay(site, came, until=until, progress=progress)
    else:
        received = receive(site, wait, progress)
        if rebuild:
            with site.exclusive(wait=True):
                unlearned = finish_unlearning(site, progress)

    def lines() -> None:
        print(f"{len(received.admitted)} modules admitted, {received.revocations} revocations")
        if received.set_aside:
            print(f"{len(received.set_aside)} modules set aside: others are chosen now")
        if received.waiting:
            print(f"{len(received.waiting)} modules wait for a decision: ff-agent admit")
        for text in received.warnings:
            say(f"WARNING: {text}", indent=9)
        for subject, reason in received.refused.items():
            say(f"refused {subject[:12]}: {reason}", indent=9)
        if unlearned is not None:
            print(f"{len(unlearned.modules)} modules forgotten; classifier is now "
                  f"{(unlearned.classifier or 'none')[:12]}")  # fmt: skip
            print(f"certificate: {unlearned.certificate}")
        elif received.pending is not None:
            print("revoked modules are deleted; run ff-agent fit to rebuild the classifier")

    document = plain(received)
    document["unlearned"] = None if unlearned is None else plain(unlearned)
    call.console.result(document, lines)
