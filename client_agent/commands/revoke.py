"""`ff-agent revoke`."""

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("revoke")
@click.argument("module", required=False)
@click.option("--site", "of_site", help="Every module of this site instead of one.")
@click.option("--reason", default="", help="Goes into the signed statement; no patient data.")
@click.option(
    "--rebuild/--no-rebuild",
    default=True,
    show_default=True,
    help="Rebuild data set and classifier at once.",
)
def command(
    call: Call, module: str | None, of_site: str | None, reason: str, rebuild: bool
) -> None:
    """Withdraw a module: everyone ends as if it had never been.

    MODULE is a digest from `ff-agent status`, or its first 8 digits or more. A module of this site
    is revoked for the whole federation; another site's, or --site OTHER, for this site alone.
    Deletes the module, its synthetic images and every classifier made with it, then rebuilds
    without it and writes a signed certificate.
    """
    from client_agent.steps.revoke import revoke

    site = call.site()
    with site.exclusive():
        revoked = revoke(
            site,
            module=module,
            of_site=of_site,
            reason=reason,
            rebuild=rebuild,
            progress=call.console.progress,
        )

    def lines() -> None:
        where = "in the whole federation" if revoked.scope == "federation" else "at this site alone"
        print(f"{len(revoked.modules)} modules revoked {where}")
        if revoked.scope == "federation" and not revoked.relayed:
            print("the others are not told yet: run ff-agent send when the coordinator answers")
        if revoked.unlearned is None:
            print("nothing to rebuild, or left to ff-agent fit")
            return
        unlearned = revoked.unlearned
        print(f"classifier is now {(unlearned.classifier or 'none')[:16]}, "
              f"knows: {', '.join(unlearned.classes) or 'nothing'}")  # fmt: skip
        print(f"certificate: {unlearned.certificate}")

    call.console.result(plain(revoked), lines)
