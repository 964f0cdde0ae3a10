"""`ff-agent join`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, needed, plain, site_command


@site_command("join")
@click.argument("invitation", type=click.Path(path_type=Path), required=False)
@click.option(
    "--request",
    "request_file",
    type=click.Path(path_type=Path),
    help="Without a network: write the certificate requests there, for ff-coordinator approve.",
)
@click.option("--site", "site_id", help="This site's name, for --request.")
@click.option(
    "--certificate",
    "approval_file",
    type=click.Path(path_type=Path),
    help="Without a network: the file that ff-coordinator approve made.",
)
@click.option(
    "--connect",
    "connect_to",
    metavar="HOST:PORT",
    help="Dial this address; the certificate must still carry the invitation's name.",
)
@click.option(
    "--signing-key",
    metavar="URI",
    help="Sign with a key in a token: pkcs11:token=T;object=LABEL?module-path=LIBRARY.so.",
)
@click.option("--proxy", metavar="URL", help="Pass this HTTP proxy: http://HOST:PORT.")
def command(
    call: Call,
    invitation: Path | None,
    request_file: Path | None,
    site_id: str | None,
    approval_file: Path | None,
    connect_to: str | None,
    signing_key: str | None,
    proxy: str | None,
) -> None:
    """Join a federation with an invitation file, or by carrying two files where no network leads.

    Makes this site's private keys in the home (they never leave it) and exchanges INVITATION, made
    by the operator's `ff-coordinator invite SITE`, for two certificates. Compare the fingerprint
    that is printed with the operator's, by telephone. Without a network: --request FILE --site
    NAME, the operator's `ff-coordinator approve FILE`, then --certificate FILE. --connect and
    --proxy are kept in site.yaml; proxy variables of the environment are never followed.
    """
    from client_agent.credentials import use_token
    from client_agent.errors import UsageError
    from client_agent.steps.join import join
    from client_agent.steps.join_offline import join_approved, write_request

    if sum(item is not None for item in (invitation, request_file, approval_file)) != 1:
        raise UsageError("give INVITATION, or --request, or --certificate")
    if signing_key is not None:
        use_token(call.home, signing_key)
    if request_file is not None:
        if site_id is None:
            raise UsageError("--site is missing", hint="the name that the operator gave this site")
        request = write_request(call.home, site_id, request_file)
        call.console.result(
            {"site": site_id, "request": str(request_file), "fingerprint": request.fingerprint},
            lambda: print(
                f"certificate requests of {site_id} in {request_file} (not secret)\n"
                f"request fingerprint: {request.fingerprint}\n"
                f"next, at the operator's: ff-coordinator approve {request_file.name}"
            ),
        )
        return
    joined = (
        join(invitation, call.home, connect_to=connect_to, proxy=proxy)
        if invitation is not None
        else join_approved(needed(approval_file, "--certificate"), call.home, connect_to, proxy)
    )

    def lines() -> None:
        verb = "had joined" if joined.already else "joined"
        print(f"{joined.site_id} {verb} {joined.federation_name} ({joined.federation_id})")
        print(f"root fingerprint: {joined.fingerprint}")
        print(f"classes: {', '.join(joined.classes)}")
        print("next: ff-agent run --data PATH")

    call.console.result(plain(joined), lines)
