"""From the proxy to the coordinator's certificate: layer by layer until the first fault."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID

from client_agent.doctor import sockets
from client_agent.doctor.findings import Finding
from client_agent.relay.proxy import Proxy, ignored_variables
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.endpoints import split_endpoint
from ff_protocol.trust import TrustRoot

_OURS = "urn:federated-factory:"


def examine_way(
    endpoint: str, server_name: str | None, proxy: Proxy | None, trust: TrustRoot
) -> Iterator[Finding]:
    """Yield findings about the way to `endpoint`; the last one may be a fault.

    Args:
        endpoint: `HOST:PORT` to dial.
        server_name: name that the certificate must carry; None: the host.
        proxy: to pass.
        trust: the federation's root.
    """
    host, port = split_endpoint(endpoint)
    name = server_name or host
    for layer in (
        lambda: _proxy(proxy),
        lambda: _name(proxy.host if proxy else host, proxy.port if proxy else port, proxy),
        lambda: _port(host, port, endpoint, proxy),
        lambda: _tls(host, port, endpoint, name, proxy, trust),
    ):
        for finding in layer():
            yield finding
            if not finding.ok:
                return


def _proxy(proxy: Proxy | None) -> Iterator[Finding]:
    ignored = ignored_variables()
    aside = f" (set in the environment and not followed: {', '.join(ignored)})" if ignored else ""
    acts = f"the proxy of site.yaml acts: {proxy}" if proxy else "no proxy acts"
    yield Finding("proxy", True, acts + aside)


def _name(host: str, port: int, proxy: Proxy | None) -> Iterator[Finding]:
    whose = f"the proxy's name {host}" if proxy else host
    try:
        addresses = sockets.resolve(host, port)
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
        reason = "does not exist" if unknown else f"cannot be resolved now ({error.strerror})"
        yield Finding(
            "name",
            False,
            f"{whose} {reason}",
            f"check its spelling in site.yaml; else ask the network team to resolve {host} on "
            "this machine (DNS)",
        )
        return
    yield Finding("name", True, f"{whose} is {', '.join(addresses[:4])}")


def _port(host: str, port: int, endpoint: str, proxy: Proxy | None) -> Iterator[Finding]:
    way = f" through {proxy}" if proxy else ""
    try:
        with sockets.dial(host, port, proxy):
            yield Finding("port", True, f"{endpoint} accepts connections{way}")
    except sockets.ProxyRefusedError as error:
        wish = (
            "ask the network team for the proxy's user and password, and put them into site.yaml"
            if " 407" in str(error)
            else f"ask the network team that the proxy lets CONNECT {endpoint} through"
        )
        yield Finding("proxy", False, f"{proxy} refuses CONNECT {endpoint}: {error}", wish)
    except OSError as error:
        yield _port_fault(error, endpoint, proxy)


def _port_fault(error: OSError, endpoint: str, proxy: Proxy | None) -> Finding:
    if proxy:
        return Finding(
            "proxy",
            False,
            f"{proxy} cannot be reached: {_reason(error)}",
            "check proxy: in site.yaml, or ask the network team for the proxy's address",
        )
    if isinstance(error, ConnectionRefusedError):
        ask = "ask the coordinator's operator whether it runs and on which port it listens"
    else:
        ask = f"ask the network team to allow this machine outgoing TCP to {endpoint}"
    return Finding("port", False, f"no connection to {endpoint}: {_reason(error)}", ask)


def _tls(
    host: str, port: int, endpoint: str, name: str, proxy: Proxy | None, trust: TrustRoot
) -> Iterator[Finding]:
    pass_through = f"layer-4 pass-through of {endpoint} (no TLS inspection)"
    try:
        with sockets.dial(host, port, proxy) as connection:
            seen = sockets.look(connection, name)
        with sockets.dial(host, port, proxy) as connection:
            fault = sockets.verify(connection, name, trust.pem.decode())
    except ssl.SSLError as error:
        yield _tls_fault(error, endpoint, pass_through)
        return
    except (OSError, sockets.ProxyRefusedError) as error:
        yield Finding(
            "tls",
            False,
            f"the connection to {endpoint} is cut as soon as TLS begins: {_reason(error)}",
            f"a firewall may be dropping what it cannot inspect: ask the network team for "
            f"{pass_through}",
        )
        return
    yield Finding("tls", True, f"{endpoint} speaks {seen.version}")
    yield _issuer(seen.certificate, fault, endpoint, pass_through, trust)
    if fault in ("expired", "not yet valid"):
        yield _dates(seen.certificate, fault, endpoint)
    yield _protocol(seen, endpoint, pass_through)
    yield _server_name(seen.certificate, name, endpoint)


def _tls_fault(error: ssl.SSLError, endpoint: str, pass_through: str) -> Finding:
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return Finding(
            "tls",
            False,
            f"what answers at {endpoint} does not speak TLS",
            "check host and port in site.yaml: this is another service, or a proxy's error page",
        )
    return Finding(
        "tls",
        False,
        f"TLS to {endpoint} fails: {(error.reason or str(error)).lower().replace('_', ' ')}",
        f"ask the network team for {pass_through}",
    )


def _issuer(
    certificate: x509.Certificate,
    fault: str | None,
    endpoint: str,
    pass_through: str,
    trust: TrustRoot,
) -> Finding:
    if fault != "foreign":
        return Finding("interception", True, "the certificate is of this federation")
    party = next((uri for uri in _names(certificate)[1] if uri.startswith(_OURS)), None)
    if party is not None:
        return Finding(
            "server",
            False,
            f"{endpoint} is of another federation: {party}",
            f"check the address in site.yaml: this site belongs to {trust.federation_id}",
        )
    issuer = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    who = str(issuer[0].value) if issuer else certificate.issuer.rfc4514_string()
    return Finding(
        "interception",
        False,
        f"TLS is being terminated by {who[:120]!r}",
        f"ask the network team for {pass_through}; or the address is not the coordinator's",
    )


def _dates(certificate: x509.Certificate, fault: str, endpoint: str) -> Finding:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Finding(
        "clock" if fault == "not yet valid" else "server",
        False,
        f"the certificate of {endpoint} is {fault}: it is for {timestamp(begins)} to "
        f"{timestamp(ends)}, this machine's clock says {timestamp(utc_now())}",
        "set this machine's clock (NTP); if it is right, ask the coordinator's operator to renew",
    )


def _protocol(seen: sockets.Handshake, endpoint: str, pass_through: str) -> Finding:
    if seen.version != "TLSv1.3":
        return Finding(
            "tls", False, f"{endpoint} speaks {seen.version} only", f"ask for {pass_through}"
        )
    if seen.protocol != "h2":
        return Finding(
            "alpn",
            False,
            f"{endpoint} does not agree on HTTP/2: something between strips ALPN",
            f"ask the network team for {pass_through}",
        )
    return Finding("alpn", True, "HTTP/2 is agreed on")


def _server_name(certificate: x509.Certificate, name: str, endpoint: str) -> Finding:
    hosts = _names(certificate)[0]
    wanted = _canonical(name)
    if wanted in map(_canonical, hosts):
        return Finding("server", True, f"the certificate is for {name}")
    return Finding(
        "server",
        False,
        f"the certificate at {endpoint} is for {', '.join(hosts) or 'no name'}, not for {name}",
        f"set server_name: in site.yaml to one of these names, or ask the coordinator's operator "
        f"to add {name} (ff-coordinator init --host)",
    )


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return hosts (names and addresses) and URIs of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return [], []
    hosts = [
        *found.get_values_for_type(x509.DNSName),
        *map(str, found.get_values_for_type(x509.IPAddress)),
    ]
    return hosts, found.get_values_for_type(x509.UniformResourceIdentifier)


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error).lower()
