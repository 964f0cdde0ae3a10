"""Certificate requests (PKCS#10, RFC 2986): what a party asks with, proving that it has the key."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ff_protocol.certificates import UNREADABLE, subject_name
from ff_protocol.errors import MalformedError


def make_request(key: ec.EllipticCurvePrivateKey, common_name: str) -> bytes:
    """Make a PKCS#10 certificate request (RFC 2986) in PEM, proving possession of `key`."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_name(common_name))
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM)


def request_name(pem: bytes) -> str:
    """Return the common name of a certificate request.

    Raises:
        MalformedError: unreadable, or not exactly one.
    """
    try:
        names = x509.load_pem_x509_csr(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        (name,) = names
    except ValueError as error:
        raise MalformedError("not a certificate request with a name") from error
    return str(name.value)


def request_public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a certificate request whose self-signature holds.

    Raises:
        MalformedError: unreadable, wrong key type, or the signature does not hold.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        valid = request.is_signature_valid
        key = request.public_key()
    except (InvalidSignature, *UNREADABLE) as error:
        raise MalformedError("not a readable certificate request") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedError("a certificate request must be for an ECDSA P-256 key")
    if not valid:
        raise MalformedError("the certificate request does not prove possession of its key")
    return key
