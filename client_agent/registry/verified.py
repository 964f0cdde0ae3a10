"""Statements in a home are verified whenever they are read, but once in a process.

The same bytes under the same roots on the same day hold or do not hold: the table is keyed by all
of these. It is never written down: what a file says about having been verified would be worth as
little as the file.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar

from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import utc_now
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot

Value = TypeVar("Value")

_MOST = 50_000
_TABLE: dict[tuple[Any, ...], Any] = {}


def read_held(
    envelope: bytes,
    trust: TrustRoot,
    roles: tuple[Role, ...],
    read: Callable[[dsse.VerifiedPayload], Value],
    *settings: object,
) -> Value:
    """Verify a statement that was accepted before, and read it.

    Args:
        envelope: as it lies in the home.
        trust: the federation's roots.
        roles: who may have signed it.
        read: reads the payload into an immutable value.
        settings: whatever else `read` depends on.

    Raises:
        MalformedError, UntrustedError: it does not hold.
    """
    now: dt.datetime = utc_now()
    key = (
        *(sha256_hex(envelope), trust.federation_id, trust.roots, trust.issuing),
        *(roles, now.date(), settings),
    )
    if key not in _TABLE:
        payload = dsse.verify(envelope, trust, roles, at=now, held=True)
        value = read(payload)
        if len(_TABLE) >= _MOST:
            _TABLE.clear()
        _TABLE[key] = value
    found: Value = _TABLE[key]
    return found


def forget_all() -> None:
    """Empty the table, as a new process would find it."""
    _TABLE.clear()
