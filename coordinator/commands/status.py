"""`ff-coordinator status`: the federation at a glance, without a server."""

from typing import TYPE_CHECKING, Any

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
            f"Federation spec     revision {value['spec_revision']}",
            *_revisions(value),
            f"Expelled            {expelled or 'none'}",
            f"Publications        {value['publications']}",
            f"Revocations         {value['revocations']}",
            f"Store               {value['store']}",
            f"Chunks              {value['chunks']} ({value['chunk_bytes'] / 2**20:.1f} MiB)",
            *(["A garbage collection is running."] if value["collection_running"] else ()),
        ),
    )


def _revisions(value: dict[str, Any]) -> list[str]:
    """Say which sites go by which revision, unless all of them go by the newest."""
    by_revision: dict[int | None, list[str]] = {}
    for site, revision in value["site_revisions"].items():
        by_revision.setdefault(revision, []).append(site)
    lines = []
    if value["spec_revision"] > 1 and set(by_revision) != {value["spec_revision"]}:
        for revision in sorted(by_revision, key=lambda item: item or 0):
            label = "not told" if revision is None else f"revision {revision}"
            lines.append(f"  at {label:<15} {', '.join(by_revision[revision])}")
        lines.append("  Classifiers are equal only at sites with the same revision.")
    for site, items in value["sites_lacking"].items():
        lines.append(f"  {site} lacks {', '.join(items)}")
    return lines
