"""From faults to gRPC status, in one table; one log line a call.

The status text is public: message and hint of a foreseeable fault. What went wrong inside (paths,
causes, tracebacks) goes to the log alone.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import grpc

from coordinator import errors
from ff_protocol.errors import FederatedFactoryError, MalformedError, UntrustedError

if TYPE_CHECKING:
    from coordinator.identity import Peer

LOG = logging.getLogger("coordinator.calls")

STATUS_CODES: tuple[tuple[type[FederatedFactoryError], grpc.StatusCode], ...] = (
    (errors.NotAMemberError, grpc.StatusCode.UNAUTHENTICATED),
    (errors.InvitationUsedError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.ForbiddenStatementError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.RefusedStatementError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.MissingChunkError, grpc.StatusCode.NOT_FOUND),
    (errors.StoreError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (UntrustedError, grpc.StatusCode.PERMISSION_DENIED),
    (MalformedError, grpc.StatusCode.INVALID_ARGUMENT),
)
_PRIVATE = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "the coordinator's store is full or not writable",
    grpc.StatusCode.INTERNAL: "internal error: the coordinator's log says more",
}


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the gRPC status and the public text of a fault."""
    for kind, code in STATUS_CODES:
        if isinstance(error, kind):
            text = error.message + (f" ({error.hint})" if error.hint else "")
            return code, _PRIVATE.get(code, text)
    return grpc.StatusCode.INTERNAL, _PRIVATE[grpc.StatusCode.INTERNAL]


class CallRecord:
    """What the log line of a call says besides its name and outcome."""

    def __init__(self) -> None:
        self.site: str | None = None
        self.received = 0
        self.sent = 0

    def caller(self, peer: "Peer") -> "Peer":
        """Note who is calling."""
        self.site = peer.identity.site_id
        return peer


@contextmanager
def answering(context: grpc.ServicerContext, method: str) -> Iterator[CallRecord]:
    """Turn any fault inside into a status, and log the call."""
    record = CallRecord()
    started = time.monotonic()
    refuse: Callable[[], NoReturn] | None = None
    outcome, reason = "OK", ""
    try:
        yield record
    except GeneratorExit:
        outcome = "CANCELLED"
        raise
    except FederatedFactoryError as error:
        code, text = status_of(error)
        outcome, reason = code.name, f"{error.error_code}: {error.message}"
        refuse = lambda: context.abort(code, text)  # noqa: E731
    except grpc.RpcError:
        outcome = "CANCELLED"  # the peer went away while its stream was read
    except Exception as error:
        code, text = status_of(error)
        outcome = code.name
        LOG.exception("unforeseen fault", extra={"method": method})
        refuse = lambda: context.abort(code, text)  # noqa: E731
    finally:
        LOG.info(
            "call",
            extra={
                "method": method,
                "site": record.site,
                "outcome": outcome,
                "milliseconds": round(1000 * (time.monotonic() - started)),
                "bytes_received": record.received,
                "bytes_sent": record.sent,
                **({"reason": reason} if reason else {}),
            },
        )
    if refuse is not None:
        refuse()
