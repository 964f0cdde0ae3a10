"""`ff-agent log`."""

import click

from client_agent.commands.common import Call, site_command


@site_command("log")
@click.option(
    "--verify", is_flag=True, help="Check the hash chain, and its end against signed statements."
)
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many.")
def command(call: Call, verify: bool, last: int) -> None:
    """Show this site's append-only record (times in UTC), or verify it.

    It holds what was trained, sent, admitted, refused, synthesised, fitted, revoked, withdrawn,
    unlearned and verified. Each line holds the hash of the line before; the site signs the last
    hash into its publications and heads, so that a cut end is found too. With --json every entry is
    printed.
    """
    from client_agent.steps.record import verify_record
    from client_agent.text import say, shorten_digests

    site = call.site()
    verified = verify_record(site) if verify else None
    entries = list(site.log.entries())

    def lines() -> None:
        if verified is not None:
            print(f"{verified.entries} entries, the chain is whole")
            print(f"{verified.anchors} signed statements of this site fit it, up to entry "
                  f"{verified.anchored}")  # fmt: skip
            return
        for entry in entries[-last:]:
            details = " ".join(f"{key}={value}" for key, value in entry["details"].items())
            text = shorten_digests(details)
            say(f"{entry['time']} {entry['event']:<20} {text[:200]}", indent=21)

    document = {
        "verified": None if verified is None else verified.entries,
        "anchors": None if verified is None else verified.anchors,
        "anchored": None if verified is None else verified.anchored,
        "entries": entries,
    }
    call.console.result(document, lines)
