"""`ff-coordinator status`: the federation at a glance, without a server."""

from typing import TYPE_CHECKING

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("status")
def command(home: "CoordinatorHome", console: Console) -> None:
    """Show the federation, its members, what the store holds, and what expires when."""
    from coordinator.overview import overview
    from ff_protocol.clock import utc_now

    value = overview(home, utc_now())
    changing = ", changing: end it with ff-coordinator rotate-root --finish"
    days = value["days"]
    expelled = ", ".join(item["site"] for item in value["expelled"])
    console.result(
        value,
        (
            f"Federation          {value['federation']}",
            f"Root fingerprint    {value['fingerprint']}"
            + (changing if value["root_changing"] else ""),
            f"Days left           root {days['root']}, issuing CA {days['issuing']}"
            + (f", authority {days['signing']}" if "signing" in days else ""),
            f"Member list         until {value['members_until'] or 'serve signs the first one'}",
            f"Server certificate  until {value['server_certificate_until']} "
            f"({value['server_certificate_days']} days)",
            f"Server names        {', '.join(value['hosts'])}",
            f"Sites               {', '.join(value['sites']) or 'none have joined'}",
            f"Expelled            {expelled or 'none'}",
            f"Publications        {value['publications']}",
            f"Revocations         {value['revocations']}",
            f"Store               {value['store']}",
            f"Chunks              {value['chunks']} ({value['chunk_bytes'] / 2**20:.1f} MiB)",
            *(["A garbage collection is running."] if value["collection_running"] else ()),
        ),
    )
