"""The one HTTP proxy that acts: the `proxy:` of site.yaml. The environment's are never followed.

A proxy variable set for a browser or for pip would otherwise carry the connection elsewhere without
a word. What passes the proxy is the TLS connection itself (CONNECT, RFC 9110 section 9.3.6): the
proxy sees names and sizes, never content.
"""

import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ff_protocol.errors import SpecError

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that understands CONNECT. `str()` leaves out the password."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    url: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """Read `http://[USER:PASSWORD@]HOST:PORT`.

    Raises:
        SpecError: another form.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        port = None
    if (
        port is None
        or parts.scheme != "http"
        or not parts.hostname
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise SpecError(
            "proxy is not http://HOST:PORT",
            hint="for example proxy: http://proxy.hospital.example:3128 in site.yaml",
        )
    return Proxy(
        parts.hostname,
        port,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        text.rstrip("/"),
    )


def ignored_variables() -> tuple[str, ...]:
    """Return the names of the environment's proxy variables that are set, and not followed."""
    return tuple(name for low in VARIABLES for name in (low, low.upper()) if os.environ.get(name))


def channel_options(proxy: Proxy | None) -> dict[str, int | str]:
    """Return gRPC's options for connecting through `proxy`, or straight if it is None."""
    if proxy is None:
        return {"grpc.enable_http_proxy": 0}
    # gRPC would leave the proxy out for hosts in no_proxy: what site.yaml says is what happens.
    os.environ["no_grpc_proxy"] = ""  # noqa: SIM112 (its name)
    return {"grpc.enable_http_proxy": 1, "grpc.http_proxy": proxy.url}
