"""`dicomweb:https://HOST/PATH?QUERY`: which server, and which of its series.

The query's keys are attributes by keyword or eight hexadecimal digits, matched by the server as in
PS3.18 section 8.3.4: `?ModalitiesInStudy=CT&StudyDate=20240101-20241231`. It may identify patients,
so that messages show an address without it.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from client_agent.errors import UsageError

SCHEME = "dicomweb:"
_EXAMPLE = "for example dicomweb:https://pacs.example/dicom-web?Modality=CT"

_KEY = re.compile(r"[A-Za-z0-9.]{1,128}", re.ASCII)
_OWN_KEYS = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_MAX_CHARACTERS = 4096


@dataclass(frozen=True)
class DicomWebAddress:
    """A server's base address, without a slash at the end, and what is asked of it."""

    base: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The address as messages show it: without the query."""
        return f"{SCHEME}{self.base}"

    def __str__(self) -> str:
        return self.name + (f"?{urlencode(self.query)}" if self.query else "")


def parse_address(text: str) -> DicomWebAddress:
    """Read an address; `parse_address(str(a)) == a`.

    Raises:
        UsageError: no https address, credentials in it, or a query that is ours to make.
    """
    url = text.removeprefix(SCHEME)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise UsageError("the address cannot be read", hint=_EXAMPLE) from error
    if len(text) > _MAX_CHARACTERS or not url.isprintable() or " " in url:
        raise UsageError("the address cannot be read", hint=_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "credentials do not belong into an address",
            hint="set FF_DICOMWEB_TOKEN, or FF_DICOMWEB_USER and FF_DICOMWEB_PASSWORD",
        )
    if not host or parts.scheme not in ("https", "http") or parts.fragment:
        raise UsageError("no address of a server", hint=_EXAMPLE)
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(f"{host} would be asked without encryption", hint="use https")
    for key, _ in query:
        if key.casefold() in _OWN_KEYS or _KEY.fullmatch(key) is None:
            raise UsageError(f"{key[:60]!r} cannot be searched for", hint="attributes by keyword")
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return DicomWebAddress(base, tuple(query))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
