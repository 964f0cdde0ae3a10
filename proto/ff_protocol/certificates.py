"""Making keys and certificates (RFC 5280): ECDSA P-256 throughout.

The chain is root -> issuing CA -> leaf. The root key is needed only to certify the issuing key, so
it can be taken offline; the issuing key signs leaves. A new root certifies the same issuing key
anew (ff_protocol.roots), so that every leaf outlives its first root. Every leaf names exactly one
party in a URI SAN and has exactly one purpose, so that a TLS certificate cannot stand in for a
signing one.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ff_protocol.errors import MalformedError
from ff_protocol.key_encryption import decrypt_key, encrypt_key, is_encrypted
from ff_protocol.names import Identity

ROOT_LIFETIME = dt.timedelta(days=7305)
ISSUING_LIFETIME = dt.timedelta(days=5479)
SIGNING_LIFETIME = dt.timedelta(days=3653)
"""Signing certificates outlast the modules' retention: verifiers check validity at present time."""
TLS_LIFETIME = dt.timedelta(days=397)
BACKDATE = dt.timedelta(hours=12)
"""Tolerated clock difference between the authority and a verifier: clocks are off by hours."""

UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises over certificates, keys and requests that only look like ones."""


RENEW_BEFORE = dt.timedelta(days=30)
"""A certificate with less than this left, or less than a third of its life, is to be renewed."""


class Purpose(Enum):
    """What a leaf may be used for: exactly one extended key usage each."""

    TLS_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    TLS_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    SIGNING = ExtendedKeyUsageOID.CODE_SIGNING


@dataclass(frozen=True)
class Credential:
    """A private key with its certificate chain, leaf first, without the root.

    An issuing CA has one certificate under each root that certified its key, the oldest first.
    """

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of `key`."""
        return self.chain[0]

    @property
    def until(self) -> dt.datetime:
        """End of the life of `key`: of an issuing key the last of its certificates counts."""
        same = [cert for cert in self.chain if cert.public_key() == self.leaf.public_key()]
        return max(cert.not_valid_after_utc for cert in same)


def make_key() -> ec.EllipticCurvePrivateKey:
    """Make a new ECDSA P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """Serialise a private key as PKCS#8 PEM, encrypted if there is a passphrase.

    Unencrypted it is written with mode 0600 only.
    """
    if passphrase is not None:
        return encrypt_key(key, passphrase)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_from_pem(pem: bytes, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Load a private key written by `key_to_pem`; the passphrase of an unencrypted one is ignored.

    Raises:
        MalformedError: not an ECDSA P-256 key, or encrypted and there is no passphrase.
        PassphraseError: the passphrase is wrong.
    """
    try:
        if is_encrypted(pem) and passphrase is not None:
            key = decrypt_key(pem, passphrase)
        else:
            key = serialization.load_pem_private_key(pem, password=None)
    except UNREADABLE as error:
        raise MalformedError("not a readable private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedError("a private key must be ECDSA P-256")
    return key


def chain_to_pem(chain: tuple[x509.Certificate, ...]) -> bytes:
    """Serialise certificates, leaf first."""
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in chain)


def chain_from_pem(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Parse one to four PEM certificates.

    Raises:
        MalformedError: none, too many, or unreadable.
    """
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem))
    except UNREADABLE as error:
        raise MalformedError("not a readable certificate") from error
    if not 1 <= len(chain) <= 4:
        raise MalformedError(f"{len(chain)} certificates in one chain, 1 to 4 are accepted")
    return chain


def make_root(name: str, now: dt.datetime, *, begins: dt.datetime | None = None) -> Credential:
    """Make a federation's self-signed root.

    Args:
        name: of the federation.
        now: its life counts from here.
        begins: start of validity, `BACKDATE` before `now` unless given. A root that follows another
            begins when that one did: stock verifiers look at the time at which a leaf began.
    """
    key = make_key()
    subject = subject_name(f"{name} root")
    certificate = (
        _builder(subject, subject, key.public_key(), now, ROOT_LIFETIME, begins)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Credential(key, (certificate,))


def make_issuing(root: Credential, name: str, now: dt.datetime) -> Credential:
    """Make the CA that signs leaves, under `root`."""
    key = make_key()
    return Credential(
        key, (certify_issuing(root, key.public_key(), subject_name(f"{name} issuing"), now),)
    )


def certify_issuing(
    root: Credential,
    public_key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    now: dt.datetime,
    *,
    begins: dt.datetime | None = None,
) -> x509.Certificate:
    """Certify an issuing key, new or already certified by another root.

    Args:
        root: the root that certifies.
        public_key: the issuing key.
        subject: the issuing CA's name, the same under every root.
        now: its life counts from here.
        begins: as for `make_root`.
    """
    return (
        _builder(subject, root.leaf.subject, public_key, now, ISSUING_LIFETIME, begins)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_key(root.leaf), critical=False)
        .sign(root.key, hashes.SHA256())
    )


def issue_leaf(
    issuing: Credential,
    public_key: ec.EllipticCurvePublicKey,
    identity: Identity,
    purpose: Purpose,
    *,
    now: dt.datetime,
    lifetime: dt.timedelta,
    hosts: tuple[str, ...] = (),
) -> tuple[x509.Certificate, ...]:
    """Sign a leaf for `identity` and `purpose`.

    Args:
        issuing: the issuing CA.
        public_key: the party's key; its private half never leaves the party.
        identity: goes into the URI SAN, and its site id (or role) into the common name.
        purpose: the only extended key usage.
        now: start of validity, less `BACKDATE`.
        lifetime: end of validity, capped at the issuing CA's own.
        hosts: DNS names and IP addresses of a TLS server.

    Returns:
        The chain, leaf first, without the root.
    """
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(identity))]
    names += [_host_name(host) for host in hosts]
    lifetime = min(lifetime, issuing.until - now)
    certificate = (
        _builder(
            subject_name(identity.site_id or identity.role),
            issuing.leaf.subject,
            public_key,
            now,
            lifetime,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose.value]), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_key(issuing.leaf), critical=False)
        .sign(issuing.key, hashes.SHA256())
    )
    return (certificate, *issuing.chain)


def renewal_due(certificate: x509.Certificate, now: dt.datetime) -> bool:
    """Say whether less than a third of a certificate's life, or less than 30 days, is left."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    left = certificate.not_valid_after_utc - now
    return left < max(life / 3, RENEW_BEFORE)


def root_fingerprint(root: x509.Certificate) -> str:
    """Return the SHA-256 of the root certificate (DER), as people compare it out of band."""
    return root.fingerprint(hashes.SHA256()).hex()


def subject_name(common_name: str) -> x509.Name:
    """Return the distinguished name of a party; common names end after 64 characters."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Federated Factory"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
    begins: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
