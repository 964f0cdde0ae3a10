"""Signed heads: how far each chain of revocations has come, so that withholding is noticed.

    heads         site -> all     "at this time I know these chains up to here; this expires"

A head names the newest revocation of one issuer by number and digest. Heads travel in two ways:
every publication carries those that its publisher knew (gossip, the "witness" idea of
C2SP tlog-cosignature), and every site signs a heads statement of its own that expires, as TUF's
timestamp role does (theupdateframework.io, section 2.1.4), so that keeping back the newest
revocation cannot last. What a site makes of them is in client_agent/registry/freshness.py. No I/O
here.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from ff_protocol import intoto
from ff_protocol.clock import parse_timestamp, timestamp
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import Role, check_digest, check_site_id

HEADS = intoto.PREFIX + "heads:v1"

MAX_HEADS = 2048
MAX_VALIDITY = dt.timedelta(days=92)
"""No statement may claim to be fresh for longer."""

CLOCK_SKEW = dt.timedelta(hours=24)
"""Clocks in hospitals are off by hours: a statement from the future is believed up to this much."""

_MAX_SEQUENCE = 2**31


@dataclass(frozen=True)
class Head:
    """The newest revocation of `issuer` (a site id or `authority`): its number and its digest."""

    issuer: str
    sequence: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"issuer": self.issuer, "sequence": self.sequence, "digest": self.digest}


@dataclass(frozen=True)
class RecordHead:
    """The last line of a site's own record: its number and its hash. Anchors the record's tail."""

    sequence: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"sequence": self.sequence, "digest": self.digest}


@dataclass(frozen=True)
class Heads:
    """What one site knew at one time.

    Attributes:
        sequence: 1 for the site's first heads statement, then growing: a smaller one is a replay.
        issued_at, expires_at: RFC 3339 in UTC; the second at most `MAX_VALIDITY` after the first.
        heads: one for each issuer of whom a revocation is known, by issuer.
        record: the end of the site's own record, None if it has none.
    """

    federation_id: str
    site_id: str
    sequence: int
    issued_at: str
    expires_at: str
    heads: tuple[Head, ...]
    record: RecordHead | None

    def expired(self, at: dt.datetime) -> bool:
        """Say whether it is too old to stand for the present."""
        return parse_timestamp(self.expires_at) < at


def build_heads(heads: Heads) -> Any:
    """Build the statement to be signed."""
    return intoto.build(
        HEADS,
        [],
        {
            "federation": heads.federation_id,
            "site": heads.site_id,
            "sequence": heads.sequence,
            "issued_at": heads.issued_at,
            "expires_at": heads.expires_at,
            "heads": heads_to_list(heads.heads),
            "record": None if heads.record is None else heads.record.to_dict(),
        },
    )


def read_heads(payload: VerifiedPayload, *, at: dt.datetime | None) -> Heads:
    """Read a heads statement.

    Args:
        payload: what `dsse.verify` returned.
        at: the present time; None for one that was accepted before.

    Raises:
        MalformedError: wrong form, or dates that cannot be.
        UntrustedError: it speaks for a site other than its signer.
    """
    predicate = intoto.predicate_of(
        payload,
        HEADS,
        {"federation", "site", "sequence", "issued_at", "expires_at", "heads", "record"},
    )
    site = check_site_id(intoto.text_of(predicate, "site"))
    if site != payload.signer.site_id:
        raise UntrustedError(f"{payload.signer.site_id} cannot sign heads for {site}")
    issued, expires = _moment(predicate, "issued_at"), _moment(predicate, "expires_at")
    if not dt.timedelta(0) < expires - issued <= MAX_VALIDITY:
        raise MalformedError(f"heads are valid for at most {MAX_VALIDITY.days} days")
    if at is not None and issued > at + CLOCK_SKEW:
        raise MalformedError(f"heads of {site} were issued in the future: {timestamp(issued)}")
    return Heads(
        federation_id=payload.signer.federation_id,
        site_id=site,
        sequence=_sequence(predicate["sequence"]),
        issued_at=timestamp(issued),
        expires_at=timestamp(expires),
        heads=parse_heads(predicate["heads"]),
        record=parse_record_head(predicate["record"]),
    )


def heads_to_list(heads: tuple[Head, ...]) -> list[dict[str, Any]]:
    """Return the JSON form; `parse_heads(heads_to_list(heads)) == heads` if ordered by issuer."""
    return [head.to_dict() for head in heads]


def parse_heads(value: Any) -> tuple[Head, ...]:
    """Parse a list of heads, one an issuer, ordered by issuer.

    Raises:
        MalformedError: anything else.
    """
    if not isinstance(value, list) or len(value) > MAX_HEADS:
        raise MalformedError(f"heads: a list of at most {MAX_HEADS}")
    heads = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"issuer", "sequence", "digest"}:
            raise MalformedError("a head has exactly issuer, sequence and digest")
        issuer = str(item["issuer"])
        if issuer != str(Role.AUTHORITY):
            check_site_id(issuer)
        heads.append(Head(issuer, _sequence(item["sequence"]), check_digest(str(item["digest"]))))
    issuers = [head.issuer for head in heads]
    if issuers != sorted(set(issuers)):
        raise MalformedError("heads: one an issuer, ordered by issuer")
    return tuple(heads)


def parse_record_head(value: Any) -> RecordHead | None:
    """Parse the end of a record, or null.

    Raises:
        MalformedError: anything else.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"sequence", "digest"}:
        raise MalformedError("the end of a record has exactly sequence and digest")
    return RecordHead(_sequence(value["sequence"]), check_digest(str(value["digest"])))


def _sequence(value: Any) -> int:
    if type(value) is not int or not 1 <= value < _MAX_SEQUENCE:
        raise MalformedError(f"sequence {value!r}")
    return value


def _moment(predicate: dict[str, Any], key: str) -> dt.datetime:
    try:
        return parse_timestamp(intoto.text_of(predicate, key))
    except ValueError as error:
        raise MalformedError(f"{key}: a time in UTC is expected") from error
