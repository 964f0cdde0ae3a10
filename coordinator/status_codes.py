"""From faults to gRPC status, in one table.

The status text is public: message and hint of a foreseeable fault. What went wrong inside (paths,
causes, tracebacks) goes to the log alone.
"""

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from coordinator import errors
from ff_protocol.errors import FederatedFactoryError, MalformedError, UntrustedError

STATUS_CODES: tuple[tuple[type[FederatedFactoryError], grpc.StatusCode], ...] = (
    (errors.NotAMemberError, grpc.StatusCode.UNAUTHENTICATED),
    (errors.ExpelledError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.InvitationUsedError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.ForbiddenStatementError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.RefusedStatementError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.MissingChunkError, grpc.StatusCode.NOT_FOUND),
    (errors.QuotaError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.StoreError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.BusyError, grpc.StatusCode.UNAVAILABLE),
    (UntrustedError, grpc.StatusCode.PERMISSION_DENIED),
    (MalformedError, grpc.StatusCode.INVALID_ARGUMENT),
)
_STORE = "the coordinator's store is full or not writable"
_INTERNAL = "internal error: the coordinator's log says more"


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the gRPC status and the public text of a fault."""
    for kind, code in STATUS_CODES:
        if isinstance(error, kind):
            text = error.message + (f" ({error.hint})" if error.hint else "")
            return code, _STORE if kind is errors.StoreError else text
    return grpc.StatusCode.INTERNAL, _INTERNAL
