"""`ff-coordinator approve`: make the certificates of a site that has no network yet."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("approve")
@click.argument("request", type=click.Path(path_type=Path))
@click.option("--endpoint", help="HOST:PORT at which the site will reach this coordinator.")
@click.option(
    "--fingerprint", help="SHA-256 that the site's admin told you: refuse any other request."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write [default: approval-SITE.json]."
)
def command(
    home: "CoordinatorHome",
    console: Console,
    request: Path,
    endpoint: str | None,
    fingerprint: str | None,
    output: Path | None,
) -> None:
    """Make the certificates for REQUEST, which a site made with ff-agent join --request.

    REQUEST is not secret and proves nothing about who made it: compare its fingerprint with the
    site's admin by another way, or give it with --fingerprint.
    """
    from coordinator.approvals import approve_request, read_request
    from coordinator.errors import UsageError
    from coordinator.store import open_store
    from ff_protocol.approval import request_fingerprint, split_requests
    from ff_protocol.clock import utc_now

    data = read_request(request)
    found = request_fingerprint(data)
    if fingerprint is not None and fingerprint.lower() != found:
        raise UsageError(
            f"{request} has the fingerprint {found}, not the one given",
            hint="ask the site's admin: the file may have been exchanged on its way",
        )
    endpoint = endpoint or home.settings().endpoint
    if endpoint is None:
        raise UsageError(
            "--endpoint is missing", hint="give --endpoint HOST:PORT, here or once to init"
        )
    output = output or Path(f"approval-{split_requests(data)[0]}.json")
    approval = approve_request(home, open_store(home), data, endpoint, output, now=utc_now())
    console.result(
        {
            "site": approval.site_id,
            "approval": str(output),
            "request_fingerprint": found,
            "fingerprint": approval.fingerprint,
        },
        (
            f"Certificates of {approval.site_id} in {output} (not secret)",
            f"Request fingerprint (SHA-256): {found}",
            f"Root fingerprint (SHA-256): {approval.fingerprint}",
            f"Next, at the site: ff-agent join --certificate {output.name}",
        ),
    )
