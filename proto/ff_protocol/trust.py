"""Who may speak: certificate rules without any I/O.

A leaf is trusted for one purpose if its chain ends at the federation's root (at one of two while
the root changes: ff_protocol.roots), every certificate is within its dates, its only extended key
usage is that purpose, and its only URI SAN names a party of this federation. (The stock model
verifier checks neither dates nor purpose nor identity.)
"""

import datetime as dt

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import verification

from ff_protocol.certificates import (
    UNREADABLE,
    Purpose,
    chain_from_pem,
    chain_to_pem,
    root_fingerprint,
)
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.stopping import held


class TrustRoot:
    """A federation's root certificate and its id.

    Attributes:
        federation_id: stays the same when roots change.
        roots: the root that stands for the federation now; its successor behind it while both hold.
        issuing: known certificates of the issuing key, one under each root: they complete chains
            that name another root only.
    """

    def __init__(
        self,
        root: x509.Certificate,
        federation_id: str,
        *,
        successor: x509.Certificate | None = None,
        issuing: tuple[x509.Certificate, ...] = (),
    ) -> None:
        """Pin `root` (and `successor`) as the only anchors of `federation_id`."""
        self.federation_id = federation_id
        self.roots = (root,) if successor is None else (root, successor)
        self.issuing = issuing

    @property
    def certificate(self) -> x509.Certificate:
        """The root that stands for the federation now."""
        return self.roots[0]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of that root certificate in hexadecimal."""
        return root_fingerprint(self.certificate)

    @property
    def pem(self) -> bytes:
        """Roots and issuing certificates, as `federation-ca.pem` holds them and TLS takes them.

        Law: `parse_trust(trust.pem, id)` has the same roots and issuing certificates.
        """
        return chain_to_pem((*self.roots, *self.issuing))

    def become(self, other: "TrustRoot") -> None:
        """Trust from now on what `other` trusts: for whoever holds this object while roots change.

        Raises:
            UntrustedError: it is of another federation.
        """
        if other.federation_id != self.federation_id:
            raise UntrustedError(f"roots of another federation: {other.federation_id}")
        self.roots, self.issuing = other.roots, other.issuing

    @held
    def verify(
        self,
        chain: tuple[x509.Certificate, ...],
        purpose: Purpose,
        role: Role,
        *,
        at: dt.datetime,
    ) -> Identity:
        """Return the identity behind `chain` (leaf first).

        Args:
            chain: leaf and intermediates, from an untrusted party.
            purpose: the use that is being made of the leaf.
            role: the kind of party expected.
            at: the time at which every certificate must be valid (time-zone aware).

        Raises:
            UntrustedError: with the rule that failed.
        """
        leaf = chain[0]
        try:
            self._verifier(at).verify(leaf, [*chain[1:], *self.issuing])
        except (verification.VerificationError, *UNREADABLE) as error:
            raise UntrustedError(f"certificate refused: {_reason(leaf, at, error)}") from error
        identity = leaf_identity(leaf, purpose)
        if identity.federation_id != self.federation_id:
            raise UntrustedError(
                f"certificate of another federation: {identity.federation_id}, "
                f"this is {self.federation_id}"
            )
        if identity.role != role:
            raise UntrustedError(f"certificate is for role {identity.role}, role {role} is needed")
        return identity

    def _verifier(self, at: dt.datetime) -> verification.ClientVerifier:
        # Purpose and identity are checked by leaf_identity: the library's ready-made
        # profiles know TLS clients and servers only.
        leaf_policy = verification.ExtensionPolicy.permit_all().require_present(
            x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
        )
        return (
            verification.PolicyBuilder()
            .store(verification.Store(list(self.roots)))
            .time(at)
            .max_chain_depth(2)
            .extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
                ee_policy=leaf_policy,
            )
            .build_client_verifier()
        )


def parse_trust(pem: bytes, federation_id: str) -> TrustRoot:
    """Parse what `TrustRoot.pem` wrote.

    Raises:
        MalformedError: not one or two roots with at most as many other certificates.
    """
    chain = chain_from_pem(pem)
    roots = [certificate for certificate in chain if certificate.subject == certificate.issuer]
    issuing = tuple(certificate for certificate in chain if certificate not in roots)
    if not 1 <= len(roots) <= 2 or len(issuing) > len(roots):
        raise MalformedError("one root, or two while they change, are expected")
    return TrustRoot(
        roots[0], federation_id, successor=roots[1] if roots[1:] else None, issuing=issuing
    )


def directly_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def leaf_identity(leaf: x509.Certificate, purpose: Purpose) -> Identity:
    """Read the identity of a leaf and check that it is for `purpose` alone. Checks no signature.

    Raises:
        UntrustedError: a CA certificate, another purpose, or not exactly one URI SAN of ours.
    """
    try:
        extensions = leaf.extensions
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        key_usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE) as error:
        raise UntrustedError(f"certificate lacks a needed extension: {error}") from error
    if constraints.ca or not key_usage.digital_signature:
        raise UntrustedError("certificate is not a leaf for signatures")
    if list(usage) != [purpose.value]:
        raise UntrustedError(f"certificate is not for {purpose.name.lower().replace('_', ' ')}")
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise UntrustedError(f"certificate names {len(uris)} parties, exactly one is needed")
    try:
        return Identity.from_urn(uris[0])
    except MalformedError as error:
        raise UntrustedError(error.message) from error


def _reason(leaf: x509.Certificate, at: dt.datetime, error: Exception) -> str:
    try:
        if at > leaf.not_valid_after_utc:
            return f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if at < leaf.not_valid_before_utc:
            return f"it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    except UNREADABLE:  # a date that is none
        return "its dates cannot be read"
    return str(error)
