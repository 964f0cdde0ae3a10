"""Names that cross the wire or become part of a path: what they may look like, and the URNs.

A site, class or federation name is checked here before it is used anywhere, so that no name can
leave its folder, hide behind look-alike characters or break a URN (RFC 8141).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from ff_protocol.errors import MalformedError

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_CLASS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,62}[A-Za-z0-9+_-])?", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_URN = re.compile(
    r"urn:federated-factory:([a-z0-9-]{1,80}):(site|invitation|coordinator|authority)"
    r"(?::([a-z0-9-]{1,63}))?",
    re.ASCII,
)


class Role(StrEnum):
    """Who a certificate speaks for."""

    SITE = "site"
    INVITATION = "invitation"
    COORDINATOR = "coordinator"
    AUTHORITY = "authority"


@dataclass(frozen=True)
class Identity:
    """A party of one federation, as its certificate's URI SAN states it.

    Law: `Identity.from_urn(str(identity)) == identity`.
    """

    federation_id: str
    role: Role
    site_id: str | None = None

    def __str__(self) -> str:
        urn = f"urn:federated-factory:{self.federation_id}:{self.role}"
        return f"{urn}:{self.site_id}" if self.site_id else urn

    @classmethod
    def from_urn(cls, urn: str) -> "Identity":
        """Parse `urn:federated-factory:<federation-id>:<role>[:<site-id>]`.

        Raises:
            MalformedError: not such a URN, or a site id where none (or none where one) belongs.
        """
        match = _URN.fullmatch(urn)
        if not match:
            raise MalformedError(f"not an identity of this product: {urn[:120]!r}")
        role = Role(match[2])
        has_site = role in (Role.SITE, Role.INVITATION)
        if has_site != (match[3] is not None):
            raise MalformedError(f"identity {urn[:120]!r}: site id missing or out of place")
        return cls(match[1], role, check_site_id(match[3]) if has_site else None)


def check_site_id(value: str) -> str:
    """Return `value` if it is a site id: a DNS label in lower case (RFC 1123), 1 to 63 characters.

    Names of roles are reserved: statements name their issuer by site id or role, and a site named
    `authority` would pass for the authority.

    Raises:
        MalformedError: it is not.
    """
    if value in tuple(Role):
        raise MalformedError(f"site name {value!r} is reserved", hint="choose another site name")
    if not _LABEL.fullmatch(value):
        raise MalformedError(
            f"site name {value[:80]!r}: use 1 to 63 lower-case letters, digits and inner hyphens"
        )
    return value


def check_class_name(value: str) -> str:
    """Return `value` if it is a class name: 1 to 64 ASCII letters, digits, space, `._+-`.

    Raises:
        MalformedError: it is not.
    """
    if not _CLASS.fullmatch(value):
        raise MalformedError(
            f"class name {value[:80]!r}: use 1 to 64 letters, digits, spaces or any of . _ + -, "
            "beginning with a letter or digit"
        )
    return value


def check_digest(value: str) -> str:
    """Return `value` if it is a SHA-256 in 64 lower-case hexadecimal digits.

    Raises:
        MalformedError: it is not.
    """
    if not _DIGEST.fullmatch(value):
        raise MalformedError(f"not a SHA-256 digest: {value[:80]!r}")
    return value


def slug(value: str) -> str:
    """Derive the readable part of a federation id: lower case, hyphens, at most 40 characters."""
    text = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:40].strip("-")
    if not text:
        raise MalformedError(f"federation name {value[:80]!r} has no letter or digit")
    return text
