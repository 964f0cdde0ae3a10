"""`ff-agent bundle`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("bundle")
@click.argument("action", type=click.Choice(["export", "import"]))
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--all", "everything", is_flag=True, help="export: every module that is in use here.")
def command(
    call: Call, action: str, file: Path, modules: tuple[str, ...], everything: bool
) -> None:
    """Carry signed modules and revocations on a disk, where no network leads.

    \b
    ff-agent bundle export FILE            this site's own modules
    ff-agent bundle export FILE MODULE...  these, by digest or its first 8 digits
    ff-agent bundle export FILE --all      every module in use here
    ff-agent bundle import FILE            take what is new

    FILE is a plain tar. Importing makes the same checks as receiving, so it does not matter whose
    disk it was; revocations in it are applied first. Afterwards: ff-agent fit.
    """
    from client_agent.errors import UsageError
    from client_agent.steps.bundle import export_bundle, import_bundle

    if (action == "import" or everything) and modules:
        raise UsageError("modules are named with export alone, and without --all")
    if action == "import" and everything:
        raise UsageError("--all belongs to export; import takes whatever is new")
    site = call.site()
    progress = call.console.progress
    if action == "export":
        with site.exclusive():
            exported = export_bundle(site, file, modules, everything=everything, progress=progress)

        def told() -> None:
            print(f"{file}: {len(exported.modules)} modules, {exported.revocations} revocations, "
                  f"{exported.size:,} bytes")  # fmt: skip

        call.console.result(plain(exported), told)
        return
    with site.exclusive():
        received = import_bundle(site, file, progress)

    def lines() -> None:
        print(f"{len(received.admitted)} modules admitted, {received.revocations} revocations")
        if received.waiting:
            print(f"{len(received.waiting)} modules wait for a decision: ff-agent admit")
        for subject, reason in received.refused.items():
            print(f"refused {subject[:12]}: {reason}")
        if received.pending is not None:
            print("revoked modules are deleted; run ff-agent fit to rebuild the classifier")

    call.console.result(plain(received), lines)
