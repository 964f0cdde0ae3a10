"""Signed envelopes: DSSE v1 (github.com/secure-systems-lab/dsse) with the signer's chain inside.

A verifier needs the federation's root and nothing else. The payload is always an in-toto
Statement; `ff_protocol.statements` says what each kind means.
"""

import base64
import binascii
import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ff_protocol import canonical
from ff_protocol.certificates import (
    UNREADABLE,
    Credential,
    Purpose,
    chain_from_pem,
    chain_to_pem,
    root_fingerprint,
)
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Identity, Role
from ff_protocol.stopping import held
from ff_protocol.trust import TrustRoot

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class VerifiedPayload:
    """A payload whose signature held: its JSON value, its digest, and who signed it."""

    value: Any
    digest: str
    signer: Identity


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE v1: the exact bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(value: Any, signer: Credential) -> bytes:
    """Sign the canonical bytes of `value`; return the envelope as canonical JSON."""
    payload = canonical.dumps(value)
    signature = signer.key.sign(
        pre_authentication_encoding(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256())
    )
    return canonical.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": root_fingerprint(signer.leaf),
                    "sig": base64.b64encode(signature).decode(),
                    "certificates": chain_to_pem(signer.chain).decode(),
                }
            ],
        }
    )


@held
def verify(
    envelope: bytes,
    trust: TrustRoot,
    roles: tuple[Role, ...],
    *,
    at: dt.datetime,
    max_bytes: int = MAX_ENVELOPE_BYTES,
    held: bool = False,
) -> VerifiedPayload:
    """Check an envelope from an untrusted party and return what it says.

    Args:
        envelope: the bytes as received.
        trust: the federation's root.
        roles: the kinds of party that may sign this kind of statement.
        at: time at which the certificates must be valid.
        max_bytes: larger envelopes are refused before parsing.
        held: the envelope was accepted before and is read again: its signer's certificate may have
            ended since, for what was said in time stays said.

    Raises:
        MalformedError: not an envelope with exactly one signature.
        UntrustedError: the signature, the chain, the purpose or the role does not hold.
    """
    document = canonical.loads(envelope, max_bytes=max_bytes, what="signed statement")
    payload, signature, certificates = _parts(document)
    chain = chain_from_pem(certificates)
    try:
        key = chain[0].public_key()
    except UNREADABLE as error:
        raise UntrustedError("the signer's certificate holds no key that can be used") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UntrustedError("a statement must be signed with an ECDSA key")
    try:
        key.verify(
            signature,
            pre_authentication_encoding(PAYLOAD_TYPE, payload),
            ec.ECDSA(hashes.SHA256()),
        )
    except InvalidSignature as error:
        raise UntrustedError("the statement's signature does not hold") from error
    moment = min(at, chain[0].not_valid_after_utc) if held else at
    signer = _trusted_signer(trust, chain, roles, moment)
    value = canonical.loads(payload, max_bytes=max_bytes, what="statement")
    return VerifiedPayload(value, canonical.sha256_hex(payload), signer)


def _trusted_signer(
    trust: TrustRoot, chain: tuple[Any, ...], roles: tuple[Role, ...], at: dt.datetime
) -> Identity:
    refusal = UntrustedError("no party may sign this statement")
    for role in roles:
        try:
            return trust.verify(chain, Purpose.SIGNING, role, at=at)
        except UntrustedError as error:
            refusal = error
    raise refusal


def _parts(document: Any) -> tuple[bytes, bytes, bytes]:
    try:
        if document["payloadType"] != PAYLOAD_TYPE:
            raise MalformedError(f"payload type {str(document['payloadType'])[:80]!r}")
        (entry,) = document["signatures"]
        payload = base64.b64decode(document["payload"], validate=True)
        signature = base64.b64decode(entry["sig"], validate=True)
        return payload, signature, entry["certificates"].encode("ascii")
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise MalformedError("not a DSSE envelope with exactly one signature") from error
