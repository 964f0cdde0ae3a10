"""Exchanging an invitation for certificates: single use, and repeatable with the same keys."""

import datetime as dt
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.errors import InvitationUsedError
from coordinator.store import Store, enrolment_key
from ff_protocol import canonical
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    TLS_LIFETIME,
    Credential,
    Purpose,
    chain_to_pem,
    issue_leaf,
    request_public_key,
)
from ff_protocol.clock import timestamp
from ff_protocol.errors import MalformedError
from ff_protocol.limits import KIB, MAX_CERTIFICATE_BYTES
from ff_protocol.names import Identity, Role


@dataclass(frozen=True)
class Certificates:
    """A site's two chains, PEM, leaf first."""

    tls: bytes
    signing: bytes


def enrol(
    store: Store,
    issuing: Credential,
    invited: Identity,
    invitation: x509.Certificate,
    requests: tuple[bytes, bytes],
    now: dt.datetime,
) -> Certificates:
    """Issue the certificates of an invited site.

    The invitation is bound to the two keys by put-if-absent before anything is issued, so that of
    two parties that hold it only one gets certificates, on whichever replicas they ask.

    Args:
        store: where the binding is kept.
        issuing: the issuing CA.
        invited: the identity in the invitation's certificate.
        invitation: that certificate.
        requests: PKCS#10 requests, PEM, for TLS and for signing.
        now: start of validity.

    Raises:
        MalformedError: a request does not hold, or both are for one key.
        InvitationUsedError: it was exchanged for other keys.
    """
    if max(map(len, requests)) > MAX_CERTIFICATE_BYTES:
        raise MalformedError(f"a certificate request has at most {MAX_CERTIFICATE_BYTES} bytes")
    tls_key, signing_key = map(request_public_key, requests)
    if _digest(tls_key) == _digest(signing_key):
        raise MalformedError("the two certificate requests must be for different keys")
    _bind(store, invited, invitation, (tls_key, signing_key), now)
    site = Identity(invited.federation_id, Role.SITE, invited.site_id)
    return Certificates(
        tls=chain_to_pem(
            issue_leaf(issuing, tls_key, site, Purpose.TLS_CLIENT, now=now, lifetime=TLS_LIFETIME)
        ),
        signing=chain_to_pem(
            issue_leaf(
                issuing, signing_key, site, Purpose.SIGNING, now=now, lifetime=SIGNING_LIFETIME
            )
        ),
    )


def _bind(
    store: Store,
    invited: Identity,
    invitation: x509.Certificate,
    keys: tuple[ec.EllipticCurvePublicKey, ec.EllipticCurvePublicKey],
    now: dt.datetime,
) -> None:
    bound = {"tls_key": _digest(keys[0]), "signing_key": _digest(keys[1])}
    key = enrolment_key(invitation.serial_number)
    record = {"site": invited.site_id, "enrolled_at": timestamp(now), **bound}
    if store.put_if_absent(key, canonical.dumps(record)):
        return
    held = canonical.loads(store.get(key) or b"{}", max_bytes=KIB, what="enrolment record")
    if {name: held.get(name) for name in bound} != bound:
        raise InvitationUsedError(
            f"this invitation for {invited.site_id} has already been used",
            hint="ask the consortium's operator for a new one; if it was not you who used it, "
            "tell the operator so",
        )


def _digest(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()
