"""Enrolment without a network: the request that a site carries out, and the answer it carries back.

The request is two PKCS#10 requests in PEM, TLS first, with the site's name as common name; neither
it nor the answer holds a secret. Who approves must know that the request is the site's: its
fingerprint is compared by another way, as that of the root is by the site.
"""

import base64
import binascii
import hashlib
import re
from typing import Literal

from pydantic import Field

from ff_protocol import canonical
from ff_protocol.certificate_requests import request_name
from ff_protocol.certificates import chain_from_pem
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.limits import (
    MAX_CERTIFICATE_BYTES,
    MAX_MEMBERSHIP_FILE_BYTES,
    MAX_REQUEST_FILE_BYTES,
    MAX_SPEC_BYTES,
)
from ff_protocol.names import check_site_id
from ff_protocol.roots import FIRST_VERSION, MAX_VERSIONS
from ff_protocol.schema import Strict, parse
from ff_protocol.trust import TrustRoot, parse_trust

_REQUEST = re.compile(
    rb"-----BEGIN CERTIFICATE REQUEST-----\s.*?-----END CERTIFICATE REQUEST-----\s*", re.DOTALL
)


class Approval(Strict):
    """What `ff-coordinator approve` writes.

    Attributes:
        endpoint: `host:port` to dial.
        server_name: the name that the server's certificate must carry, if it is not the host.
        roots: the federation's root certificate, PEM (two, and the issuing CA, while it changes).
        fingerprint: SHA-256 of the root, for people to compare.
        tls, signing: the site's certificate chains, PEM, leaf first.
        spec: the signed federation spec, base64.
    """

    format: Literal["ff-approval/1"] = "ff-approval/1"
    federation_id: str = Field(max_length=80)
    federation_name: str = Field(max_length=200)
    site_id: str = Field(max_length=63)
    endpoint: str = Field(max_length=300)
    server_name: str | None = Field(default=None, max_length=253)
    roots: str = Field(max_length=4 * MAX_CERTIFICATE_BYTES)
    roots_version: int = Field(default=FIRST_VERSION, ge=FIRST_VERSION, le=MAX_VERSIONS)
    fingerprint: str = Field(min_length=64, max_length=64)
    tls: str = Field(max_length=4 * MAX_CERTIFICATE_BYTES)
    signing: str = Field(max_length=4 * MAX_CERTIFICATE_BYTES)
    spec: str = Field(max_length=2 * MAX_SPEC_BYTES)

    def to_bytes(self) -> bytes:
        """Serialise as canonical JSON."""
        return canonical.dumps(self.model_dump(mode="json"))

    def trust_root(self) -> TrustRoot:
        """Return the root that this file asks to trust.

        Raises:
            MalformedError: unreadable, or not the one whose fingerprint is stated.
        """
        trust = parse_trust(self.roots.encode(), self.federation_id)
        if trust.fingerprint != self.fingerprint:
            raise MalformedError("the approval's root certificate and fingerprint differ")
        return trust

    def spec_envelope(self) -> bytes:
        """Return the signed spec.

        Raises:
            MalformedError: not base64.
        """
        try:
            return base64.b64decode(self.spec, validate=True)
        except binascii.Error as error:
            raise MalformedError("the approval's spec is not base64") from error


def parse_approval(data: bytes) -> Approval:
    """Parse an approval file; what it says is checked by whoever takes it.

    Raises:
        MalformedError: not an approval.
    """
    value = canonical.loads(data, max_bytes=MAX_MEMBERSHIP_FILE_BYTES, what="approval")
    try:
        approval = parse(Approval, value, "approval")
    except SpecError as error:
        raise MalformedError(f"not an approval: {error.message}") from error
    check_site_id(approval.site_id)
    chain_from_pem(approval.tls.encode())
    chain_from_pem(approval.signing.encode())
    return approval


def split_requests(data: bytes) -> tuple[str, tuple[bytes, bytes]]:
    """Return the site's name and the two requests (TLS, signing) of a request file.

    Raises:
        MalformedError: not two requests for one site.
    """
    if len(data) > MAX_REQUEST_FILE_BYTES:
        raise MalformedError(f"a request file has at most {MAX_REQUEST_FILE_BYTES} bytes")
    found = _REQUEST.findall(data)
    if len(found) != 2 or b"".join(found).strip() != data.strip():
        raise MalformedError("a request file holds exactly two certificate requests")
    tls, signing = found
    if request_name(tls) != request_name(signing):
        raise MalformedError("the two certificate requests are for different sites")
    return check_site_id(request_name(tls)), (tls, signing)


def request_fingerprint(data: bytes) -> str:
    """Return the SHA-256 of a request file, as people compare it."""
    return hashlib.sha256(data.strip()).hexdigest()
