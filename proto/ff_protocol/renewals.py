"""Vouching for a new signing key with the old one.

    renewal     site -> coordinator     "this certificate request for signing is mine"

The connection on which a site renews is vouched for by its TLS key alone. Without this statement a
stolen TLS key would be worth a signing key. No I/O here.
"""

import datetime as dt

from ff_protocol import dsse, intoto
from ff_protocol.canonical import sha256_hex
from ff_protocol.certificates import Credential
from ff_protocol.errors import UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.trust import TrustRoot

RENEWAL = intoto.PREFIX + "renewal:v1"
_SUBJECT = "certificate request"


def vouch(request: bytes, site: Identity, signer: Credential) -> bytes:
    """Sign for a certificate request with the present signing key; return the envelope."""
    predicate = {"federation": site.federation_id, "site": site.site_id}
    return dsse.sign(intoto.build(RENEWAL, [(_SUBJECT, sha256_hex(request))], predicate), signer)


def check_vouched(
    envelope: bytes, request: bytes, site: Identity, trust: TrustRoot, *, at: dt.datetime
) -> None:
    """Check that a site's present signing key vouches for a certificate request.

    Raises:
        MalformedError: not such a statement.
        UntrustedError: it is not the site's, or for another request.
    """
    payload = dsse.verify(envelope, trust, (Role.SITE,), at=at)
    intoto.predicate_of(payload, RENEWAL, {"federation", "site"})
    if payload.signer != site:
        raise UntrustedError(f"{payload.signer.site_id} cannot vouch for a key of {site.site_id}")
    if intoto.subjects_of(payload, limit=1) != (sha256_hex(request),):
        raise UntrustedError("the signing key vouches for another certificate request")
