"""`ff-coordinator status`: the federation at a glance, without a server."""

from typing import TYPE_CHECKING

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("status")
def command(home: "CoordinatorHome", console: Console) -> None:
    """Show the federation, its members, and how long the server's certificate is valid."""
    from coordinator.overview import overview

    value = overview(home)
    console.result(
        value,
        (
            f"Federation          {value['federation']}",
            f"Root fingerprint    {value['fingerprint']}",
            f"Server certificate  until {value['server_certificate_until']}",
            f"Server names        {', '.join(value['hosts'])}",
            f"Sites               {', '.join(value['sites']) or 'none have joined'}",
            f"Publications        {value['publications']}",
            f"Revocations         {value['revocations']}",
        ),
    )
