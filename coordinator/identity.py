"""Who is calling: the certificate of the TLS peer, verified anew on every call.

gRPC has checked that the chain ends at the root; purpose, role, federation and dates are checked
here, so that a connection does not outlive its certificate.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from coordinator.errors import NotAMemberError
from ff_protocol.certificates import Purpose, chain_from_pem
from ff_protocol.clock import utc_now
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.trust import TrustRoot

if TYPE_CHECKING:
    import grpc

_PUBLIC_TEXT = {
    Role.SITE: "this service is for sites that have joined the federation",
    Role.INVITATION: "this service is for invited sites, with an invitation that is still valid",
}


@dataclass(frozen=True)
class Peer:
    """A verified caller."""

    identity: Identity
    certificate: x509.Certificate


def verified_peer(
    context: "grpc.ServicerContext",
    trust: TrustRoot,
    role: Role,
    intermediates: tuple[x509.Certificate, ...],
) -> Peer:
    """Return who is calling.

    Args:
        context: of the call.
        trust: the federation's root.
        role: whom the service is for.
        intermediates: the issuing CA's certificates, which complete the leaf that gRPC hands over.

    Raises:
        NotAMemberError: no certificate, or one that does not entitle to this service.
    """
    try:
        pem = bytes(context.auth_context()["x509_pem_cert"][0])
        (leaf, *_) = chain_from_pem(pem)
        identity = trust.verify((leaf, *intermediates), Purpose.TLS_CLIENT, role, at=utc_now())
    except (LookupError, ValueError) as error:
        raise NotAMemberError(_PUBLIC_TEXT[role]) from error
    except (UntrustedError, MalformedError) as error:
        raise NotAMemberError(f"{_PUBLIC_TEXT[role]}: {error.message}") from error
    return Peer(identity, leaf)
