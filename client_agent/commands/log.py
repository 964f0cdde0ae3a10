"""`ff-agent log`."""

import click

from client_agent.commands.common import Call, site_command


@site_command("log")
@click.option("--verify", is_flag=True, help="Check the hash chain of the whole record.")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many.")
def command(call: Call, verify: bool, last: int) -> None:
    """Show this site's append-only record (times in UTC), or verify it.

    With --json every entry is printed.
    """
    site = call.site()
    count = site.log.verify() if verify else None
    entries = list(site.log.entries())

    def lines() -> None:
        if verify:
            print(f"{count} entries, the chain is whole")
            return
        for entry in entries[-last:]:
            details = " ".join(f"{key}={value}" for key, value in entry["details"].items())
            print(f"{entry['time']} {entry['event']:<20} {details[:200]}")

    call.console.result({"verified": count, "entries": entries}, lines)
