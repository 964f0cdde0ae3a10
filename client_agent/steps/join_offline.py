"""Join without a network: carry certificate requests to the operator, and certificates back.

Ends as joining with an invitation does; the checks are the same. What an invitation proves by its
secret people prove here: the operator that the request is this site's, this site that the root is
the federation's, each by comparing a fingerprint.
"""

from dataclasses import dataclass
from pathlib import Path

from client_agent.credentials import PURPOSES, check_certificate, site_key
from client_agent.errors import UsageError
from client_agent.home import Home
from client_agent.steps.join import Joined, joined_home, reach_of, settle
from ff_protocol.approval import parse_approval, request_fingerprint
from ff_protocol.certificate_requests import make_request
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_MEMBERSHIP_FILE_BYTES
from ff_protocol.names import check_site_id


@dataclass(frozen=True)
class Request:
    """A request file: where, and its SHA-256 for people to compare."""

    file: Path
    fingerprint: str


def write_request(home: Home, site_id: str, file: Path) -> Request:
    """Make this site's keys and write the requests for their certificates.

    Args:
        home: a home that has not joined; keys of an earlier request are used again.
        site_id: the name that the operator gave this site.
        file: where to write; nothing in it is secret.

    Raises:
        UsageError: the home has joined. MalformedError: not a site name.
    """
    check_site_id(site_id)
    if home.site_file.exists():
        raise UsageError(
            f"{home.root} has joined a federation already",
            hint="give this site a home of its own with --home",
        )
    data = b"".join(make_request(site_key(home, name), site_id) for name in PURPOSES)
    write_atomically(file, data)
    return Request(file, request_fingerprint(data))


def join_approved(
    approval_file: Path, home: Home, connect_to: str | None = None, proxy: str | None = None
) -> Joined:
    """Join with what `ff-coordinator approve` made of this home's request.

    Args:
        approval_file: that file.
        home: the home in which the request was made.
        connect_to: `HOST:PORT` to dial instead of the one that the file names.
        proxy: HTTP proxy to pass, `http://HOST:PORT`.

    Raises:
        UsageError: no such file.
        MalformedError: not such a file.
        IdentityError: the certificates are not for this home's keys, or the spec not the
            authority's.
    """
    try:
        data = read_bounded(approval_file, MAX_MEMBERSHIP_FILE_BYTES, "approval")
    except OSError as error:
        raise UsageError(
            f"cannot read {approval_file}: {error.strerror}",
            hint="give the file that the operator made: ff-coordinator approve REQUEST",
        ) from error
    approval = parse_approval(data)
    if home.site_file.exists():
        joined = joined_home(home, already=True)
        if (joined.federation_id, joined.site_id) != (approval.federation_id, approval.site_id):
            raise UsageError(
                f"{home.root} belongs to {joined.site_id} of {joined.federation_id}",
                hint="give this site a home of its own with --home",
            )
        return joined
    trust = approval.trust_root()
    chains = {"tls": approval.tls.encode(), "signing": approval.signing.encode()}
    for name, pem in chains.items():
        if not home.key(name).exists() and not home.key_uri(name).exists():
            raise UsageError(
                f"{home.root} has no key yet",
                hint="first: ff-agent join --request FILE --site SITE, in this very home",
            )
        check_certificate(pem, name, approval.site_id, trust, site_key(home, name))
    reach = reach_of(approval.endpoint, approval.server_name, connect_to, proxy)
    return settle(
        home,
        approval.site_id,
        trust,
        approval.roots_version,
        reach,
        chains,
        approval.spec_envelope(),
    )
