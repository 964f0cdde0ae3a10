"""What a site's program can do and which revision of the spec it goes by, told to the operator.

    capabilities   site -> coordinator     "I run this version, at this revision, and could go by
                                            specs of this kind"

Signed, so that the coordinator cannot make it up; kept for the operator and not handed to other
sites: nothing that a site does rests on it. A site tells it again when it changes. No I/O here.
"""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from ff_protocol import intoto
from ff_protocol.clock import parse_timestamp, timestamp
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.heads import CLOCK_SKEW
from ff_protocol.names import check_site_id
from ff_protocol.spec import FederationSpec

CAPABILITIES = intoto.PREFIX + "capabilities:v1"
_KEYS = {
    *("federation", "site", "issued_at", "program", "revision", "waiting"),
    *("schemas", "presets", "largest_image"),
}


@dataclass(frozen=True)
class Capabilities:
    """What one site said at one time.

    Attributes:
        issued_at: RFC 3339 in UTC.
        program: version of its agent.
        revision: of the federation spec that it goes by.
        waiting: the newest revision that it has received and not adopted; None: there is none.
        schemas: versions of the spec's schema that it reads.
        presets: generator presets that it can train.
        largest_image: height and width in pixels.
    """

    federation_id: str
    site_id: str
    issued_at: str
    program: str
    revision: int
    waiting: int | None
    schemas: tuple[int, ...]
    presets: tuple[str, ...]
    largest_image: int

    def same_but_for_time(self, other: "Capabilities") -> bool:
        """Say whether another one says nothing new."""
        return replace(self, issued_at=other.issued_at) == other

    def lacks(self, spec: FederationSpec) -> tuple[str, ...]:
        """Return what the site would need for a spec and does not have, in words."""
        lacking = []
        if spec.version not in self.schemas:
            lacking.append(f"schema {spec.version} of the spec")
        if spec.preset not in self.presets:
            lacking.append(f"preset {spec.preset}")
        if spec.image.size > self.largest_image:
            lacking.append(f"images of {spec.image.size} px (at most {self.largest_image})")
        return tuple(lacking)


def build_capabilities(value: Capabilities) -> Any:
    """Build the statement to be signed."""
    return intoto.build(
        CAPABILITIES,
        [],
        {
            "federation": value.federation_id,
            "site": value.site_id,
            "issued_at": value.issued_at,
            "program": value.program,
            "revision": value.revision,
            "waiting": value.waiting,
            "schemas": list(value.schemas),
            "presets": list(value.presets),
            "largest_image": value.largest_image,
        },
    )


def read_capabilities(payload: VerifiedPayload, *, at: dt.datetime | None) -> Capabilities:
    """Read what a site says of itself.

    Args:
        payload: what `dsse.verify` returned.
        at: the present time; None for one that was accepted before.

    Raises:
        MalformedError: wrong form, or from the future.
        UntrustedError: it speaks for a site other than its signer.
    """
    predicate = intoto.predicate_of(payload, CAPABILITIES, _KEYS)
    site = check_site_id(intoto.text_of(predicate, "site"))
    if site != payload.signer.site_id:
        raise UntrustedError(f"{payload.signer.site_id} cannot speak for {site}")
    try:
        issued = parse_timestamp(intoto.text_of(predicate, "issued_at"))
    except ValueError as error:
        raise MalformedError("issued_at: a time in UTC is expected") from error
    if at is not None and issued > at + CLOCK_SKEW:
        raise MalformedError(f"issued in the future: {timestamp(issued)}")
    waiting, schemas, presets = (predicate[key] for key in ("waiting", "schemas", "presets"))
    if not isinstance(schemas, list) or not isinstance(presets, list) or len(presets) > 64:
        raise MalformedError("schemas and presets are lists")
    if len(schemas) > 64 or not all(isinstance(item, str) and len(item) <= 64 for item in presets):
        raise MalformedError("presets: at most 64 short names")
    return Capabilities(
        federation_id=payload.signer.federation_id,
        site_id=site,
        issued_at=timestamp(issued),
        program=intoto.text_of(predicate, "program")[:40],
        revision=_number(predicate["revision"]),
        waiting=None if waiting is None else _number(waiting),
        schemas=tuple(_number(item) for item in schemas),
        presets=tuple(presets),
        largest_image=_number(predicate["largest_image"]),
    )


def _number(value: Any) -> int:
    if type(value) is not int or not 1 <= value < 2**31:
        raise MalformedError(f"capabilities: number {value!r}")
    return value
