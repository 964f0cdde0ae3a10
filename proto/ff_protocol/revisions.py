"""Revisions of the federation spec: numbered, signed, each bound to the one before.

    spec:v1            authority -> all     revision 1, made when the federation is founded
    spec-revision:v1   authority -> all     revision 2, 3, ...: "this holds from now on, and it
                                             follows the revision with this hash"

Every revision but the first holds the SHA-256 of its predecessor's payload, so that a rollback or
two different successors are noticed by whoever has seen another. `FederationSpec.version` is the
version of the schema and has nothing to do with this number. What may change from one revision to
the next is in `ff_protocol.spec_changes`. No I/O here.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from ff_protocol import canonical, intoto, statements
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Role, check_digest
from ff_protocol.spec import FederationSpec, parse_spec

REVISION = intoto.PREFIX + "spec-revision:v1"
FIRST = 1
MAX_REVISIONS = 10_000
_KEYS = {"federation", "name", "issued_at", "revision", "previous", "spec"}


class OutOfOrderError(UntrustedError):
    """A revision came before its predecessor, which may still come."""


@dataclass(frozen=True)
class SpecRevision:
    """One revision of the federation spec.

    Attributes:
        name: of the federation, for people.
        number: 1 for the first.
        previous: SHA-256 of the payload of the revision before; None for the first.
        digest: SHA-256 of this one's payload; empty before it is signed.
    """

    federation_id: str
    name: str
    number: int
    previous: str | None
    spec: FederationSpec
    issued_at: str
    digest: str = ""


def build_revision(revision: SpecRevision) -> Any:
    """Build the statement to be signed; revisions after the first only."""
    return intoto.build(
        REVISION,
        [],
        {
            "federation": revision.federation_id,
            "name": revision.name,
            "issued_at": revision.issued_at,
            "revision": revision.number,
            "previous": revision.previous,
            "spec": revision.spec.model_dump(mode="json"),
        },
    )


def read_revision(payload: VerifiedPayload) -> SpecRevision:
    """Read a revision of the spec, the first or a later one.

    Raises:
        MalformedError, SpecError: not one of this schema.
        UntrustedError: the authority did not sign it, or for another federation.
    """
    if payload.signer.role != Role.AUTHORITY:
        raise UntrustedError(f"{payload.signer.site_id} cannot sign the federation spec")
    if intoto.predicate_type(payload) != REVISION:
        spec, name = statements.read_spec(payload)
        issued = intoto.text_of(payload.value["predicate"], "issued_at")
        return SpecRevision(
            payload.signer.federation_id, name, FIRST, None, spec, issued, payload.digest
        )
    predicate = intoto.predicate_of(payload, REVISION, _KEYS)
    return SpecRevision(
        federation_id=payload.signer.federation_id,
        name=intoto.text_of(predicate, "name")[:200],
        number=_number(predicate["revision"]),
        previous=check_digest(intoto.text_of(predicate, "previous")),
        spec=parse_spec(predicate["spec"]),
        issued_at=intoto.text_of(predicate, "issued_at"),
        digest=payload.digest,
    )


def check_follows(revision: SpecRevision, held: SpecRevision) -> None:
    """Make sure that a revision is the successor of another.

    Raises:
        OutOfOrderError: it leaves one out.
        UntrustedError: it follows another one than that.
    """
    if revision.number != held.number + 1:
        raise OutOfOrderError(
            f"revision {revision.number} of the federation spec came before revision "
            f"{held.number + 1}: the coordinator may be withholding it"
        )
    if revision.previous != held.digest:
        raise UntrustedError(
            f"revision {revision.number} of the federation spec follows another revision "
            f"{held.number} than the one here: the authority has signed two"
        )


def stated_revision(envelope: bytes) -> int:
    """Return the number that a spec envelope of one's own disk states; proves nothing.

    Raises:
        MalformedError: not such an envelope.
    """
    document = canonical.loads(envelope, max_bytes=MAX_ENVELOPE_BYTES, what="spec")
    try:
        payload = base64.b64decode(document["payload"], validate=True)
        value = canonical.loads(payload, max_bytes=MAX_ENVELOPE_BYTES, what="spec")
        if value["predicateType"] == statements.SPEC:
            return FIRST
        return _number(value["predicate"]["revision"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise MalformedError("not a federation spec") from error


def _number(value: Any) -> int:
    if type(value) is not int or not FIRST < value <= MAX_REVISIONS:
        raise MalformedError(f"revision {value!r} of the federation spec")
    return value
