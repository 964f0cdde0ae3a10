"""The invitation file: all that a new site needs to join, good for one enrolment.

It carries a short-lived TLS client certificate with its key, so that no call to the coordinator is
ever unauthenticated and one port is enough; the coordinator honours each certificate once. The
key in it is a bearer secret like a password: it is never the site's own key.
"""

import datetime as dt
from typing import Literal

from pydantic import Field

from ff_protocol import canonical
from ff_protocol.certificates import Credential, Purpose, chain_from_pem, key_from_pem
from ff_protocol.clock import parse_timestamp, timestamp
from ff_protocol.errors import MalformedError, SpecError, UntrustedError
from ff_protocol.limits import MAX_CERTIFICATE_BYTES, MAX_INVITATION_BYTES
from ff_protocol.names import Identity, Role, check_site_id
from ff_protocol.roots import FIRST_VERSION, MAX_VERSIONS
from ff_protocol.schema import Strict, parse
from ff_protocol.trust import TrustRoot, directly_issued


class Invitation(Strict):
    """Contents of `invitation.json`.

    Attributes:
        endpoint: `host:port` to dial.
        server_name: the name that the server's certificate must carry, if it is not the host.
        root: the federation's root certificate, PEM.
        fingerprint: SHA-256 of the root, for people to compare out of band.
        roots_version: how often the federation's root has changed, plus 1 (ff_protocol.roots).
    """

    format: Literal["ff-invitation/1"] = "ff-invitation/1"
    federation_id: str = Field(max_length=80)
    federation_name: str = Field(max_length=200)
    site_id: str = Field(max_length=63)
    endpoint: str = Field(max_length=300)
    server_name: str | None = Field(default=None, max_length=253)
    root: str = Field(max_length=MAX_CERTIFICATE_BYTES)
    fingerprint: str = Field(min_length=64, max_length=64)
    expires_at: str
    certificates: str = Field(max_length=4 * MAX_CERTIFICATE_BYTES)
    key: str = Field(max_length=MAX_CERTIFICATE_BYTES, repr=False)
    roots_version: int = Field(default=FIRST_VERSION, ge=FIRST_VERSION, le=MAX_VERSIONS)

    def to_bytes(self) -> bytes:
        """Serialise as canonical JSON; agents of before roots could change read it if none has."""
        value = self.model_dump(mode="json")
        if self.roots_version == FIRST_VERSION:
            del value["roots_version"]
        return canonical.dumps(value)

    def trust_root(self) -> TrustRoot:
        """Return the root that this invitation asks to trust.

        Raises:
            MalformedError: unreadable.
            UntrustedError: the root is not the one whose fingerprint is stated.
        """
        (root, *rest) = chain_from_pem(self.root.encode())
        # After a change of root the issuing key has a certificate under each of them.
        _, *intermediates = chain_from_pem(self.certificates.encode())
        own = tuple(item for item in intermediates[1:] if directly_issued(item, root))
        trust = TrustRoot(root, self.federation_id, issuing=own)
        if rest or trust.fingerprint != self.fingerprint:
            raise UntrustedError("the invitation's root certificate and fingerprint differ")
        return trust

    def credential(self) -> Credential:
        """Return the one-time TLS client credential."""
        return Credential(
            key_from_pem(self.key.encode()), chain_from_pem(self.certificates.encode())
        )


def parse_invitation(data: bytes, *, at: dt.datetime) -> Invitation:
    """Parse an invitation file and check that it is consistent and has not expired.

    Raises:
        MalformedError: not an invitation.
        UntrustedError: expired, or its certificate is not what it should be.
    """
    value = canonical.loads(data, max_bytes=MAX_INVITATION_BYTES, what="invitation")
    try:
        invitation = parse(Invitation, value, "invitation")
        expires_at = parse_timestamp(invitation.expires_at)
    except (SpecError, ValueError) as error:
        raise MalformedError(f"not an invitation: {error}") from error
    check_site_id(invitation.site_id)
    if at >= expires_at:
        raise UntrustedError(
            f"the invitation for {invitation.site_id} expired on {timestamp(expires_at)}",
            hint="ask the consortium's operator for a new one: ff-coordinator invite "
            + invitation.site_id,
        )
    expected = Identity(invitation.federation_id, Role.INVITATION, invitation.site_id)
    chain = invitation.credential().chain
    found = invitation.trust_root().verify(chain, Purpose.TLS_CLIENT, Role.INVITATION, at=at)
    if found != expected:
        raise UntrustedError("the invitation's certificate is for another site")
    return invitation
