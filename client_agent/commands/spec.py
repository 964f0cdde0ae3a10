"""`ff-agent spec`."""

from typing import TYPE_CHECKING

import click

from client_agent.commands.common import Call, plain, site_command

if TYPE_CHECKING:
    from client_agent.steps.spec import SpecState


@site_command("spec")
@click.option(
    "--accept",
    type=click.IntRange(2),
    metavar="REVISION",
    help="Go by this revision of the spec from now on, and by those before it.",
)
def command(call: Call, accept: int | None) -> None:
    """Show the federation spec in force here, and the revisions that wait for your decision.

    Revisions come with `receive`. A class more or a raised limit is adopted at once, unless
    policy.yaml says otherwise; what makes modules unusable or data sets new waits. Classifiers are
    equal at all sites that go by the same revision.
    """
    from client_agent.steps.spec import accept_spec, spec_state

    site = call.site()
    if accept is None:
        state = spec_state(site)
    else:
        with site.exclusive():
            state = accept_spec(site, accept)
    call.console.result(plain(state), lambda: _show(state))


def _show(state: "SpecState") -> None:
    from client_agent.text import say

    if state.adopted:
        print(f"adopted: revision {', '.join(map(str, state.adopted))}")
    colour = "grey" if state.channels == 1 else "colour"
    say(
        f"in force: revision {state.revision}: {len(state.classes)} classes, "
        f"{state.image_size} x {state.image_size} px, {colour}, preset {state.preset}",
        indent=10,
    )
    say(f"classes: {', '.join(state.classes)}", indent=9)
    for item in state.waiting:
        print(f"waiting: revision {item.revision}, signed {item.issued_at}")
        for text in item.changes:
            say(f"  {text}", indent=4)
    would = "would be" if state.waiting else "are"
    for digest, reason in state.unusable.items():
        say(f"module {digest[:12]} {would} of no use: {reason}", indent=7)
    if state.waiting:
        print(f"next: ff-agent spec --accept {state.waiting[-1].revision}")
    elif state.retrain:
        say(f"next: ff-agent train --data PATH ({', '.join(state.retrain)}), then send", indent=6)
    elif state.adopted:
        print("next: ff-agent receive, then ff-agent fit")
