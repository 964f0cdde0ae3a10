"""Looking at a connection layer by layer with plain sockets: names, ports, a proxy, TLS.

Nothing here is trusted or sent anything but greetings: certificates are looked at unverified, to be
able to say whose they are.
"""

import base64
import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509

from client_agent.relay.proxy import Proxy

SECONDS = 8.0
_MAX_ANSWER_BYTES = 8192


class ProxyRefusedError(Exception):
    """The proxy answered CONNECT with something else than success: its status line."""


@dataclass(frozen=True)
class Handshake:
    """What a TLS server showed.

    Attributes:
        version: for example `TLSv1.3`.
        protocol: chosen by ALPN (RFC 7301), None if it chose none.
        certificate: the leaf, unverified.
    """

    version: str
    protocol: str | None
    certificate: x509.Certificate


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, IPv6 and IPv4.

    Raises:
        socket.gaierror: it has none, or no name server answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@contextlib.contextmanager
def dial(host: str, port: int, proxy: Proxy | None) -> Iterator[socket.socket]:
    """Open a TCP connection, through `proxy` if one is given.

    Raises:
        OSError: refused, unreachable, or no answer in time.
        ProxyRefusedError: the proxy is there and says no.
    """
    first = (proxy.host, proxy.port) if proxy else (host, port)
    with socket.create_connection(first, timeout=SECONDS) as connection:
        if proxy:
            _tunnel(connection, host, port, proxy)
        yield connection


def _tunnel(connection: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.user is not None:
        secret = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    # Byte by byte: what follows the empty line belongs to the tunnel.
    while not answer.endswith(b"\r\n\r\n") and len(answer) < _MAX_ANSWER_BYTES:
        piece = connection.recv(1)
        if not piece:
            break
        answer += piece
    status = answer.split(b"\r\n")[0].decode("latin-1")
    if not status.startswith("HTTP/1.") or status[9:12] != "200":
        raise ProxyRefusedError(status[:100] or "it closed the connection")


def look(connection: socket.socket, name: str) -> Handshake:
    """Do a TLS handshake without verifying anybody.

    Raises:
        ssl.SSLError, OSError: it is not TLS, or it was cut.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(connection, server_hostname=name) as secured:
        der = secured.getpeercert(binary_form=True) or b""
        return Handshake(
            secured.version() or "unknown",
            secured.selected_alpn_protocol(),
            x509.load_der_x509_certificate(der),
        )


def verify(connection: socket.socket, name: str, root: str) -> str | None:
    """Do a TLS handshake that trusts `root` (PEM) alone; return why it fails, None if it holds.

    The name is not compared here.

    Raises:
        ssl.SSLError, OSError: it fails for another reason than the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=root)
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(connection, server_hostname=name):
            return None
    except ssl.SSLCertVerificationError as error:
        return {9: "not yet valid", 10: "expired"}.get(error.verify_code, "foreign")
