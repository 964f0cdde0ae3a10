"""Who is expelled, as the authority tells the sites: a numbered list that expires.

    members    authority -> all     "at this time these sites are expelled, and these modules of
                                     theirs remain"

The relay refuses an expelled site by itself; this statement makes the other sites refuse what the
expelled one publishes afterwards, whoever relays it. It names the modules that were there before,
so that every site decides alike and no clock or claim of the expelled site matters. It expires, as
TUF's timestamp role does, so that withholding it cannot last unnoticed, and names the version of
the federation's roots (ff_protocol.roots) for the same reason. No I/O here.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ff_protocol import intoto
from ff_protocol.clock import parse_timestamp, timestamp
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.heads import CLOCK_SKEW, MAX_VALIDITY
from ff_protocol.names import Role, check_site_id
from ff_protocol.roots import FIRST_VERSION, MAX_VERSIONS

MEMBERS = intoto.PREFIX + "members:v1"
VALIDITY = dt.timedelta(days=14)
"""The coordinator signs anew when half of it is over: see coordinator/member_list.py."""
MAX_EXPELLED = 1024
MAX_REMAINING = 8192
MAX_REASON_CHARACTERS = 500
_KEYS = {"federation", "version", "issued_at", "expires_at", "roots", "expelled"}
_SPEC = "spec"
"""Stated from revision 2 on, so that programs of before can read the lists of before."""


@dataclass(frozen=True)
class ExpelledSite:
    """One expelled site.

    Attributes:
        modules: digests of its modules that were published before and are not revoked by this.
    """

    site_id: str
    expelled_at: str
    reason: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class MemberList:
    """Who is expelled at one time.

    Attributes:
        version: 1, 2, 3 ...: a smaller one than known is a replay.
        issued_at, expires_at: RFC 3339 in UTC.
        roots: version of the federation's roots.
        expelled: by site id.
        spec: revision of the federation spec.
    """

    federation_id: str
    version: int
    issued_at: str
    expires_at: str
    roots: int
    expelled: tuple[ExpelledSite, ...] = ()
    spec: int = 1

    def refuses(self, module: str, site_id: str) -> ExpelledSite | None:
        """Return the expulsion that keeps a module of a site out, None if there is none."""
        for entry in self.expelled:
            if entry.site_id == site_id:
                return None if module in entry.modules else entry
        return None

    def expired(self, at: dt.datetime) -> bool:
        """Say whether it is too old to stand for the present."""
        return parse_timestamp(self.expires_at) < at

    def sites(self) -> frozenset[str]:
        """Return the ids of the expelled sites."""
        return frozenset(entry.site_id for entry in self.expelled)


def build_members(members: MemberList) -> Any:
    """Build the statement to be signed."""
    return intoto.build(
        MEMBERS,
        [],
        {
            "federation": members.federation_id,
            "version": members.version,
            "issued_at": members.issued_at,
            "expires_at": members.expires_at,
            "roots": members.roots,
            "expelled": [
                {
                    "site": entry.site_id,
                    "expelled_at": entry.expelled_at,
                    "reason": entry.reason,
                    "modules": list(entry.modules),
                }
                for entry in members.expelled
            ],
            **({_SPEC: members.spec} if members.spec > 1 else {}),
        },
    )


def read_members(payload: VerifiedPayload, *, at: dt.datetime | None) -> MemberList:
    """Read a member list.

    Args:
        payload: what `dsse.verify` returned for the authority.
        at: the present time; None for one that was accepted before.

    Raises:
        MalformedError: wrong form, or dates that cannot be.
        UntrustedError: the authority did not sign it.
    """
    keys = _KEYS | ({_SPEC} & set(intoto.keys_of(payload)))
    predicate = intoto.predicate_of(payload, MEMBERS, keys)
    if payload.signer.role != Role.AUTHORITY:
        raise UntrustedError(f"{payload.signer.site_id} cannot sign the member list")
    issued, expires = _moment(predicate, "issued_at"), _moment(predicate, "expires_at")
    if not dt.timedelta(0) < expires - issued <= MAX_VALIDITY:
        raise MalformedError(f"a member list is valid for at most {MAX_VALIDITY.days} days")
    if at is not None and issued > at + CLOCK_SKEW:
        raise MalformedError(f"the member list was issued in the future: {timestamp(issued)}")
    return MemberList(
        federation_id=payload.signer.federation_id,
        version=_number(predicate["version"], 1, 2**31),
        issued_at=timestamp(issued),
        expires_at=timestamp(expires),
        roots=_number(predicate["roots"], FIRST_VERSION, MAX_VERSIONS),
        expelled=_expelled(predicate["expelled"]),
        spec=_number(predicate.get(_SPEC, 1), 1, 2**31),
    )


def _expelled(value: Any) -> tuple[ExpelledSite, ...]:
    if not isinstance(value, list) or len(value) > MAX_EXPELLED:
        raise MalformedError(f"expelled: a list of at most {MAX_EXPELLED}")
    entries = tuple(_entry(item) for item in value)
    _check_order(entry.site_id for entry in entries)
    return entries


def _entry(item: Any) -> ExpelledSite:
    if not isinstance(item, dict) or set(item) != {"site", "expelled_at", "reason", "modules"}:
        raise MalformedError("an expulsion has exactly site, expelled_at, reason and modules")
    reason = intoto.text_of(item, "reason")
    if len(reason) > MAX_REASON_CHARACTERS:
        raise MalformedError(f"reason of an expulsion: at most {MAX_REASON_CHARACTERS} characters")
    return ExpelledSite(
        site_id=check_site_id(intoto.text_of(item, "site")),
        expelled_at=timestamp(_moment(item, "expelled_at")),
        reason=reason,
        modules=intoto.digests_of(item["modules"], "modules", limit=MAX_REMAINING),
    )


def _check_order(sites: Iterable[str]) -> None:
    names = list(sites)
    if names != sorted(set(names)):
        raise MalformedError("expelled: one a site, ordered by site")


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise MalformedError(f"member list: number {value!r}")
    return value


def _moment(predicate: dict[str, Any], key: str) -> dt.datetime:
    try:
        return parse_timestamp(intoto.text_of(predicate, key))
    except ValueError as error:
        raise MalformedError(f"{key}: a time in UTC is expected") from error
