"""What calls to the coordinator lead to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FederationInfo:
    """The coordinator's answer: signed spec, its clock (seconds since 1970 UTC), wire version."""

    spec_envelope: bytes
    server_time: int
    protocol_version: int


@dataclass(frozen=True)
class Enrolled:
    """Certificate chains (PEM, leaf first) and the signed spec; the caller verifies all three."""

    tls_chain: bytes
    signing_chain: bytes
    spec_envelope: bytes


@dataclass(frozen=True)
class Renewal:
    """Certificate chains (PEM, leaf first), empty where none was asked for; the caller verifies."""

    tls_chain: bytes
    signing_chain: bytes


@dataclass(frozen=True)
class Inquiry:
    """What a listing is to bring.

    Attributes:
        known: SHA-256 of envelopes that are here, hexadecimal: they are not sent.
        position: where the last whole listing ended, as the coordinator said; of publications and
            revocations only later ones are sent. Empty: all.
        heads_of: sites whose heads are wanted; None: all.
    """

    known: frozenset[str] = frozenset()
    position: bytes = b""
    heads_of: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SendResult:
    """What sending a module took. `already_there`: it had been published before.

    Attributes:
        bytes_sent: payload sent now, publication included.
        chunks_sent: chunks acknowledged now.
        chunks_total: distinct chunks of the module.
    """

    bytes_sent: int
    chunks_sent: int
    chunks_total: int
    already_there: bool
