"""What a fault means for the service: whether it may pass, and under which name it is counted."""

from client_agent.errors import IdentityError
from ff_protocol.errors import ExitCode, FederatedFactoryError

BUG = "bug"
"""Name of a fault that nobody foresaw."""
KILLED = "killed"
"""Name of work that the system ended, as when memory runs out."""
TOO_SHORT = "window_too_short"
"""Name of work that a window's end cut off and that has to begin again."""


def kind_of(error: BaseException) -> str:
    """Return the error identifier (docs/exit-codes.md) under which to count a fault.

    The set is closed: no peer can make it grow.
    """
    if isinstance(error, FederatedFactoryError):
        return error.error_code
    if isinstance(error, MemoryError):
        return "out_of_memory"
    return "storage" if isinstance(error, OSError) else BUG


def is_lasting(error: BaseException) -> bool:
    """Say whether waiting cannot mend it: the site was expelled, its certificate has expired.

    A configuration that breaks its schema while the service runs is mended by whoever wrote it;
    until then revocations are applied all the same. A TLS handshake that fails is no such fault
    either: what stands between this site and the coordinator may be opening connections, a clock
    may be wrong, and both are mended without us.
    """
    if not isinstance(error, FederatedFactoryError) or error.exit_code != ExitCode.IDENTITY:
        return False
    return not (isinstance(error, IdentityError) and _is_handshake(error))


def _is_handshake(error: IdentityError) -> bool:
    from client_agent.relay.translation import PeerUntrustedError  # gRPC: not for `status`

    return isinstance(error, PeerUntrustedError)
