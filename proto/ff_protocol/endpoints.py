"""`HOST:PORT` as people write it, IPv6 addresses in brackets (RFC 3986 section 3.2.2)."""

from ff_protocol.errors import MalformedError


def split_endpoint(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `[IPV6]:PORT`; the host comes back without brackets.

    Raises:
        MalformedError: another form, or a port outside 1 to 65535.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = len(host) - len(bare) == 2
    in_range = port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535
    if not colon or not bare or not in_range or (":" in bare) != bracketed:
        raise MalformedError(
            f"address {text[:100]!r} is not HOST:PORT",
            hint="for example coordinator.example.org:7443, 10.0.0.5:7443 or [::1]:7443",
        )
    return bare, int(port)
