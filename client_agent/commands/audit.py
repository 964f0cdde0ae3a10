"""`ff-agent audit`."""

from typing import Any

import click

from client_agent.commands.common import LOCATION, Call, plain, site_command


@site_command("audit")
@click.argument("classes", nargs=-1, metavar="[CLASS]...")
@click.option(
    "--data",
    type=LOCATION,
    help="Where this site's images lie [default: where they were trained from].",
)
def command(call: Call, classes: tuple[str, ...], data: Any) -> int:
    """Measure again what this site's modules give away about their training images.

    Shows every figure beside this site's bound (policy.yaml). A module that was trained without an
    audit gets its figures; other cards are not changed. Exits with 6 if a module may not leave.
    """
    from client_agent.commands.figures import show_figures
    from client_agent.steps.audit import audit
    from ff_protocol.errors import ExitCode

    site = call.site()
    with site.exclusive():
        audited = audit(site, classes, data=data, progress=call.console.progress)

    def lines() -> None:
        for module in audited:
            print(f"{module.class_name}: module {module.digest[:12]}")
            if module.not_auditable is not None:
                print(f"  cannot be audited: {module.not_auditable}")
            show_figures(module.figures)
            if module.entered:
                print("  the figures are in its card now")
            for item in module.objections:
                print(f"  {'waived' if item.waived else 'MAY NOT LEAVE'}: {item.text}")

    call.console.result({"modules": [plain(module) for module in audited]}, lines)
    refused = any(not item.waived for module in audited for item in module.objections)
    return ExitCode.REFUSED if refused else ExitCode.OK
