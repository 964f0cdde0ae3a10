"""Opening a connection to the coordinator: TLS 1.3 with both sides authenticated, failing fast."""

import contextlib
from collections.abc import Iterator

import grpc

import ff_protocol.tls as tls  # before grpc: it sets what gRPC reads once
from client_agent.errors import IdentityError
from client_agent.relay.client import RelayClient
from client_agent.relay.proxy import Proxy, channel_options
from client_agent.relay.retrying import Attempts
from ff_protocol.certificates import Credential, Purpose, chain_to_pem, key_to_pem
from ff_protocol.clock import utc_now
from ff_protocol.errors import UntrustedError
from ff_protocol.stopping import opened
from ff_protocol.trust import TrustRoot, leaf_identity


@contextlib.contextmanager
def connect(
    endpoint: str,
    server_name: str | None,
    trust: TrustRoot,
    credential: Credential,
    *,
    attempts: Attempts | None = None,
    proxy: Proxy | None = None,
) -> Iterator[RelayClient]:
    """Connect, check that the coordinator answers, and yield a client.

    Args:
        endpoint: `host:port` to dial.
        server_name: name that the server's certificate must carry; None: the endpoint's host.
        trust: the federation's root: nothing else is trusted.
        credential: this site's TLS client credential, or an invitation's.
        attempts: how long transient faults are tried again.
        proxy: HTTP proxy to pass; None connects straight, whatever the environment says.

    Raises:
        NetworkError: not reachable, or not a coordinator.
        IdentityError: one side refuses the other's certificate.
    """
    _check_own(trust, credential)
    options = dict(tls.CLIENT_OPTIONS) | channel_options(proxy)
    if server_name is not None:
        options["grpc.ssl_target_name_override"] = server_name
    credentials = grpc.ssl_channel_credentials(
        root_certificates=trust.pem,
        private_key=key_to_pem(credential.key),
        certificate_chain=chain_to_pem(credential.chain),
    )

    def dial() -> grpc.Channel:
        return grpc.secure_channel(endpoint, credentials, options=list(options.items()))

    with opened(dial, lambda channel: channel.close()) as channel:
        client = RelayClient(channel, endpoint, attempts or Attempts())
        # gRPC's finaliser swallows a stop: let it run where the channel is closed, held.
        del channel
        client.check_health()
        yield client


def _check_own(trust: TrustRoot, credential: Credential) -> None:
    """Check our own certificate first: a server that refuses it just closes the connection.

    Raises:
        IdentityError: expired, or of another federation.
    """
    try:
        role = leaf_identity(credential.leaf, Purpose.TLS_CLIENT).role
        trust.verify(credential.chain, Purpose.TLS_CLIENT, role, at=utc_now())
    except UntrustedError as error:
        raise IdentityError(
            f"this site's own {error.message}",
            hint="if it has expired, ask the operator for a new invitation (ff-coordinator invite "
            "SITE), then: ff-agent renew --invitation FILE",
        ) from error
