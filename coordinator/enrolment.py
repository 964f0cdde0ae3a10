"""Issuing a site's certificates: for an invitation, once; again before they expire; by hand.

An invitation is exchanged for certificates of one pair of keys only, and repeatable with these.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.errors import InvitationUsedError
from coordinator.store import Store, enrolment_key
from ff_protocol import canonical
from ff_protocol.certificate_requests import request_public_key
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    TLS_LIFETIME,
    Credential,
    Purpose,
    chain_from_pem,
    chain_to_pem,
    issue_leaf,
)
from ff_protocol.clock import timestamp
from ff_protocol.errors import MalformedError
from ff_protocol.limits import KIB, MAX_CERTIFICATE_BYTES
from ff_protocol.names import Identity, Role


@dataclass(frozen=True)
class Certificates:
    """A site's two chains, PEM, leaf first; empty where none was asked for."""

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
    tls_key, signing_key = _two_keys(requests)
    _bind(store, invited, invitation, (tls_key, signing_key), now)
    site = Identity(invited.federation_id, Role.SITE, invited.site_id)
    return _issue(issuing, site, tls_key, signing_key, now)


def renew(
    issuing: Credential,
    site: Identity,
    present: x509.Certificate,
    requests: tuple[bytes, bytes],
    now: dt.datetime,
) -> Certificates:
    """Issue the next certificates of a member.

    Args:
        issuing: the issuing CA.
        site: the member, as its present TLS certificate says.
        present: that certificate.
        requests: PKCS#10 requests, PEM, for TLS and for signing; an empty one asks for nothing.
        now: start of validity.

    Raises:
        MalformedError: a request does not hold, nothing is asked for, or a key is not a new one.
    """
    tls_key, signing_key = (_key(request) if request else None for request in requests)
    known = [key for key in (tls_key, signing_key, present.public_key()) if key is not None]
    digests = {_digest(key) for key in known if isinstance(key, ec.EllipticCurvePublicKey)}
    if len(known) < 2 or len(digests) < len(known):
        raise MalformedError("a renewal asks for certificates of new keys, each for one purpose")
    return _issue(issuing, site, tls_key, signing_key, now)


def approve(
    store: Store,
    issuing: Credential,
    site: Identity,
    requests: tuple[bytes, bytes],
    now: dt.datetime,
) -> Certificates:
    """Issue the certificates of a site whose requests the operator has seen to be its own.

    Args:
        store: gets the enrolment's record.
        issuing: the issuing CA.
        site: whom the certificates are for.
        requests: PKCS#10 requests, PEM, for TLS and for signing.
        now: start of validity.

    Raises:
        MalformedError: a request does not hold, or both are for one key.
    """
    tls_key, signing_key = _two_keys(requests)
    issued = _issue(issuing, site, tls_key, signing_key, now)
    record = {"site": site.site_id, "enrolled_at": timestamp(now)}
    record |= {"tls_key": _digest(tls_key), "signing_key": _digest(signing_key)}
    serial = chain_from_pem(issued.tls)[0].serial_number
    store.put_if_absent(enrolment_key(serial), canonical.dumps(record))
    return issued


def _two_keys(
    requests: tuple[bytes, bytes],
) -> tuple[ec.EllipticCurvePublicKey, ec.EllipticCurvePublicKey]:
    tls_key, signing_key = map(_key, requests)
    if _digest(tls_key) == _digest(signing_key):
        raise MalformedError("the two certificate requests must be for different keys")
    return tls_key, signing_key


def _key(request: bytes) -> ec.EllipticCurvePublicKey:
    if len(request) > MAX_CERTIFICATE_BYTES:
        raise MalformedError(f"a certificate request has at most {MAX_CERTIFICATE_BYTES} bytes")
    return request_public_key(request)


def _issue(
    issuing: Credential,
    site: Identity,
    tls_key: ec.EllipticCurvePublicKey | None,
    signing_key: ec.EllipticCurvePublicKey | None,
    now: dt.datetime,
) -> Certificates:
    def chain(
        key: ec.EllipticCurvePublicKey | None, purpose: Purpose, lifetime: dt.timedelta
    ) -> bytes:
        if key is None:
            return b""
        return chain_to_pem(issue_leaf(issuing, key, site, purpose, now=now, lifetime=lifetime))

    return Certificates(
        tls=chain(tls_key, Purpose.TLS_CLIENT, TLS_LIFETIME),
        signing=chain(signing_key, Purpose.SIGNING, SIGNING_LIFETIME),
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
