"""A relay client for a site that has joined, with the site's own credential and trust root."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from client_agent.site import Site

if TYPE_CHECKING:
    from client_agent.relay.client import RelayClient


@contextmanager
def open_relay(site: Site) -> Iterator["RelayClient"]:
    """Connect to the site's coordinator.

    Raises:
        NetworkError, IdentityError: with what is wrong and what to do.
    """
    from client_agent.relay.channel import connect  # grpc: offline steps do without it
    from client_agent.relay.proxy import parse_proxy
    from client_agent.relay.retrying import Attempts

    identity = site.identity
    with connect(
        identity.endpoint,
        identity.server_name,
        site.trust,
        site.credential("tls"),
        attempts=Attempts(patience_seconds=identity.patience_seconds),
        proxy=parse_proxy(identity.proxy) if identity.proxy else None,
    ) as client:
        yield client
