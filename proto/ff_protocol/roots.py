"""Changing a federation's root: numbered statements, signed by the old root's key and the new's.

    trust      root keys -> all     "from version N on, these roots stand for the federation"

The rules are those of TUF's root role (theupdateframework.io, section 5.3): version N + 1 is signed
by the newest root of version N and by its own newest root, versions are taken one after another,
and none is taken back. A change takes two: the first names the root and its successor (both hold),
the second the successor alone. The issuing key stays and is certified by each root, so that every
certificate, module and statement of before holds under the new root too; the federation's id, which
was derived from its first root, stays as well. Version 1 is the first root and has no statement.
No I/O here.

Root keys sign nothing else but certificates, so these envelopes carry no certificate chain.
"""

import base64
import binascii
import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ff_protocol import canonical, intoto
from ff_protocol.certificates import Credential, chain_from_pem, chain_to_pem, root_fingerprint
from ff_protocol.dsse import PAYLOAD_TYPE, pre_authentication_encoding
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.limits import MAX_TRUST_STATEMENT_BYTES
from ff_protocol.stopping import held
from ff_protocol.trust import TrustRoot

TRUST = intoto.PREFIX + "trust:v1"
FIRST_VERSION = 1
MAX_VERSIONS = 256
_KEYS = {"federation", "version", "roots", "issuing", "issued_at"}


@dataclass(frozen=True)
class TrustStatement:
    """Which roots stand for a federation from one version on.

    Attributes:
        version: one more than the one before.
        roots: the root in force; its successor behind it while both hold.
        issuing: the issuing key's certificate under each of them.
    """

    federation_id: str
    version: int
    roots: tuple[x509.Certificate, ...]
    issuing: tuple[x509.Certificate, ...]
    issued_at: str

    def trust(self) -> TrustRoot:
        """Return what is trusted from this version on."""
        return TrustRoot(
            self.roots[0],
            self.federation_id,
            successor=self.roots[1] if self.roots[1:] else None,
            issuing=self.issuing,
        )


def sign_trust(statement: TrustStatement, signers: tuple[Credential, ...]) -> bytes:
    """Sign with root keys; return the envelope as canonical JSON."""
    payload = canonical.dumps(
        intoto.build(
            TRUST,
            [],
            {
                "federation": statement.federation_id,
                "version": statement.version,
                "roots": chain_to_pem(statement.roots).decode(),
                "issuing": chain_to_pem(statement.issuing).decode(),
                "issued_at": statement.issued_at,
            },
        )
    )
    signed = pre_authentication_encoding(PAYLOAD_TYPE, payload)
    return canonical.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": root_fingerprint(signer.leaf),
                    "sig": base64.b64encode(
                        signer.key.sign(signed, ec.ECDSA(hashes.SHA256()))
                    ).decode(),
                }
                for signer in signers
            ],
        }
    )


def is_trust_statement(envelope: bytes) -> bool:
    """Say whether an envelope claims to be one of these; proves nothing."""
    try:
        value = canonical.loads(
            _open(envelope)[0], max_bytes=MAX_TRUST_STATEMENT_BYTES, what="statement"
        )
    except MalformedError:
        return False
    return isinstance(value, dict) and value.get("predicateType") == TRUST


def stated_version(envelope: bytes) -> int:
    """Return the version that a statement of one's own disk states; proves nothing.

    Raises:
        MalformedError: not such a statement.
    """
    return _read(_open(envelope)[0]).version


@held
def follow(
    envelope: bytes, trust: TrustRoot, version: int, *, at: dt.datetime
) -> TrustStatement | None:
    """Check a trust statement from an untrusted party against what is trusted now.

    Args:
        envelope: the bytes as received.
        trust: what is trusted at `version`.
        version: the version reached so far.
        at: time at which the newest root must be valid.

    Returns:
        The statement, to be trusted from now on; None if it is of the version reached, or older.

    Raises:
        MalformedError: not such a statement.
        UntrustedError: the version is not the next one, or the right roots did not sign.
    """
    payload, signatures = _open(envelope)
    statement = _read(payload)
    if statement.federation_id != trust.federation_id:
        raise UntrustedError(f"roots of another federation: {statement.federation_id}")
    if statement.version <= version:
        return None
    if statement.version != version + 1:
        raise UntrustedError(
            f"version {statement.version} of the federation's roots came before version "
            f"{version + 1}: the coordinator may be withholding statements"
        )
    newest = statement.roots[-1]
    for root in {root_fingerprint(root): root for root in (trust.roots[-1], newest)}.values():
        _check_signature(payload, signatures, root)
    if any(root not in trust.roots for root in statement.roots[:-1]):
        raise UntrustedError("a root that is not the newest must have been trusted before")
    if not newest.not_valid_before_utc <= at <= newest.not_valid_after_utc:
        raise UntrustedError("the new root is not valid at this time")
    return statement


def _read(payload: bytes) -> TrustStatement:
    value = canonical.loads(payload, max_bytes=MAX_TRUST_STATEMENT_BYTES, what="trust statement")
    try:
        predicate = value["predicate"]
        fits = (
            value["_type"] == intoto.STATEMENT_TYPE
            and value["predicateType"] == TRUST
            and set(predicate) == _KEYS
            and type(predicate["version"]) is int
            and FIRST_VERSION < predicate["version"] <= MAX_VERSIONS
        )
        if not fits:
            raise MalformedError("not a trust statement")
        statement = TrustStatement(
            federation_id=intoto.text_of(predicate, "federation"),
            version=predicate["version"],
            roots=chain_from_pem(intoto.text_of(predicate, "roots").encode("ascii")),
            issuing=chain_from_pem(intoto.text_of(predicate, "issuing").encode("ascii")),
            issued_at=intoto.text_of(predicate, "issued_at"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError("not a trust statement") from error
    _check_certificates(statement)
    return statement


def _check_certificates(statement: TrustStatement) -> None:
    """Each root signs itself, and certifies the one issuing key that all of them share."""
    if len(statement.roots) > 2 or len(statement.issuing) != len(statement.roots):
        raise MalformedError("a trust statement names one root or two, each with one issuing CA")
    try:
        for root, issuing in zip(statement.roots, statement.issuing, strict=True):
            root.verify_directly_issued_by(root)
            issuing.verify_directly_issued_by(root)
            constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
            if not constraints.ca or not isinstance(root.public_key(), ec.EllipticCurvePublicKey):
                raise MalformedError("a root is a CA with an ECDSA key")
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise MalformedError("a root does not certify itself and its issuing CA") from error
    if any(cert.public_key() != statement.issuing[0].public_key() for cert in statement.issuing):
        raise MalformedError("all roots certify the same issuing key")


def _check_signature(payload: bytes, signatures: dict[str, bytes], root: x509.Certificate) -> None:
    key, signature = root.public_key(), signatures.get(root_fingerprint(root))
    try:
        if signature is None or not isinstance(key, ec.EllipticCurvePublicKey):
            raise UntrustedError("a root that must sign the change of roots has not signed it")
        key.verify(
            signature,
            pre_authentication_encoding(PAYLOAD_TYPE, payload),
            ec.ECDSA(hashes.SHA256()),
        )
    except InvalidSignature as error:
        raise UntrustedError(
            "a root's signature under the change of roots does not hold"
        ) from error


def _open(envelope: bytes) -> tuple[bytes, dict[str, bytes]]:
    document: Any = canonical.loads(
        envelope, max_bytes=MAX_TRUST_STATEMENT_BYTES, what="trust statement"
    )
    try:
        if document["payloadType"] != PAYLOAD_TYPE or not 1 <= len(document["signatures"]) <= 2:
            raise MalformedError("not a DSSE envelope with one signature or two")
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = {
            str(entry["keyid"]): base64.b64decode(entry["sig"], validate=True)
            for entry in document["signatures"]
        }
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise MalformedError("not a DSSE envelope with one signature or two") from error
    return payload, signatures
