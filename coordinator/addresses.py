"""`HOST:PORT` as people write it."""

from coordinator.errors import UsageError


def split_endpoint(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `[IPV6]:PORT`; the host comes back without brackets.

    Raises:
        UsageError: another form.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = bare != host
    if not colon or not bare or not port.isdecimal() or int(port) > 65535:
        raise _refusal(text)
    if ":" in bare and not bracketed:
        raise _refusal(text)
    return bare, int(port)


def check_endpoint(text: str) -> str:
    """Return `text` if sites can dial it.

    Raises:
        UsageError: not `HOST:PORT` with a port above 0.
    """
    _, port = split_endpoint(text)
    if port == 0:
        raise _refusal(text)
    return text


def _refusal(text: str) -> UsageError:
    return UsageError(
        f"address {text[:100]!r} is not HOST:PORT",
        hint="for example coordinator.example.org:7443, 10.0.0.5:7443 or [::1]:7443",
    )
