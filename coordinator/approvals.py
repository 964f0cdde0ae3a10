"""Approving a site that has no network yet: certificates for the requests that it carried here."""

import base64
import datetime as dt
from pathlib import Path

from coordinator.addresses import check_endpoint
from coordinator.enrolment import approve
from coordinator.errors import UsageError
from coordinator.home import CoordinatorHome
from coordinator.invitations import server_name_for
from coordinator.membership import Membership
from coordinator.root_changes import follow_store, roots_version
from coordinator.statement_book import StatementBook
from coordinator.store import Store
from ff_protocol.approval import Approval, split_requests
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_REQUEST_FILE_BYTES
from ff_protocol.names import Identity, Role


def read_request(path: Path) -> bytes:
    """Read a request file.

    Raises:
        UsageError: it cannot be read. MalformedError: it is too large.
    """
    try:
        return read_bounded(path, MAX_REQUEST_FILE_BYTES, "request")
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            hint="give the file that the site made: ff-agent join --request FILE --site SITE",
        ) from error


def approve_request(
    home: CoordinatorHome,
    store: Store,
    request: bytes,
    endpoint: str,
    output: Path,
    *,
    now: dt.datetime,
) -> Approval:
    """Issue the certificates of the site that a request names; write them to `output`.

    Args:
        home: the operator's home, with the issuing key.
        store: gets the enrolment's record.
        request: the request file.
        endpoint: `HOST:PORT` at which the site will reach the coordinator.
        output: file to write; it holds no secret.
        now: start of validity.

    Raises:
        MalformedError: a request does not hold.
        ExpelledError: the site has been expelled.
        UsageError: not an endpoint.
    """
    site_id, requests = split_requests(request)
    Membership(store).check(site_id)
    follow_store(home, store, now)
    settings, trust = home.settings(), home.trust()
    site = Identity(settings.federation_id, Role.SITE, site_id)
    issued = approve(store, home.credential("issuing"), site, requests, now)
    approval = Approval(
        federation_id=settings.federation_id,
        federation_name=settings.name,
        site_id=site_id,
        endpoint=check_endpoint(endpoint),
        server_name=server_name_for(endpoint, settings),
        roots=trust.pem.decode(),
        roots_version=roots_version(home),
        fingerprint=trust.fingerprint,
        tls=issued.tls.decode(),
        signing=issued.signing.decode(),
        spec=base64.b64encode(StatementBook(store, trust).spec()[0]).decode(),
    )
    write_atomically(output, approval.to_bytes())
    return approval
