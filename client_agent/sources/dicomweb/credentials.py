"""How this site shows a DICOMweb server who it is: from the environment or files, never an option.

FF_DICOMWEB_TOKEN or FF_DICOMWEB_TOKEN_FILE        a bearer token (RFC 6750)
FF_DICOMWEB_USER and FF_DICOMWEB_PASSWORD[_FILE]   a name and password (RFC 7617)
FF_DICOMWEB_CA                                     certificates to trust instead of the system's
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client_agent.errors import UsageError
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded

_MAX_BYTES = 16 * 1024
_PREFIX = "FF_DICOMWEB_"


@dataclass(frozen=True)
class Credentials:
    """What to send and whom to trust.

    Attributes:
        authorization: the header's value, None to send none; never shown.
        ca: file of trusted certificates, None for the system's.
    """

    authorization: str | None = field(default=None, repr=False)
    ca: Path | None = None


def read_credentials(environment: Mapping[str, str]) -> Credentials:
    """Read what the environment says.

    Raises:
        UsageError: half of it, or a file that cannot be read.
    """
    token = _secret(environment, "TOKEN")
    user, password = environment.get(f"{_PREFIX}USER"), _secret(environment, "PASSWORD")
    ca = environment.get(f"{_PREFIX}CA")
    if ca and not Path(ca).is_file():
        raise UsageError(f"{_PREFIX}CA: there is no file {ca}")
    if token and (user or password):
        raise UsageError(f"{_PREFIX}TOKEN and {_PREFIX}USER are both set: unset one")
    if bool(user) != bool(password):
        raise UsageError(f"{_PREFIX}USER and {_PREFIX}PASSWORD go together: one is missing")
    authorization = f"Bearer {token}" if token else None
    if user and password:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        authorization = f"Basic {pair}"
    return Credentials(authorization, Path(ca) if ca else None)


def _secret(environment: Mapping[str, str], name: str) -> str | None:
    value, path = environment.get(_PREFIX + name), environment.get(f"{_PREFIX}{name}_FILE")
    if value is None and path:
        try:
            value = read_bounded(Path(path), _MAX_BYTES, "secret").decode("ascii").strip()
        except (OSError, UnicodeDecodeError, MalformedError) as error:
            raise UsageError(f"{_PREFIX}{name}_FILE cannot be read: {path}") from error
    if value and not (value.isascii() and value.isprintable()):
        raise UsageError(f"{_PREFIX}{name} holds characters that no header may hold")
    return value or None
