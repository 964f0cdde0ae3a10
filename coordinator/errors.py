"""The coordinator's faults. Those met while answering a call have a gRPC status (status_codes)."""

from ff_protocol.errors import ExitCode, FederatedFactoryError


class CoordinatorError(FederatedFactoryError):
    """Base of every foreseeable fault of `ff-coordinator`."""


class UsageError(CoordinatorError):
    """The command was called with arguments that cannot work together."""

    exit_code = ExitCode.USAGE
    error_code = "usage"


class NotReadyError(CoordinatorError):
    """An earlier step is missing; the hint names the command to run first."""

    exit_code = ExitCode.NOT_READY
    error_code = "not_ready"


class ListenError(CoordinatorError):
    """The address cannot be listened on."""

    exit_code = ExitCode.NETWORK
    error_code = "listen"


class StoreError(CoordinatorError):
    """The object store refused or cannot be reached: full, read-only, no permission."""

    exit_code = ExitCode.RESOURCES
    error_code = "storage"


class NewerStoreError(CoordinatorError):
    """Store or home belong to a later version of the program."""

    exit_code = ExitCode.CONFIGURATION
    error_code = "store_too_new"


class NotAMemberError(CoordinatorError):
    """The peer's certificate does not entitle it to this service."""

    exit_code = ExitCode.IDENTITY
    error_code = "not_a_member"


class InvitationUsedError(CoordinatorError):
    """The invitation has been exchanged for certificates of other keys."""

    exit_code = ExitCode.IDENTITY
    error_code = "invitation_used"


class ForbiddenStatementError(CoordinatorError):
    """The peer may not make this statement: it speaks for another."""

    exit_code = ExitCode.IDENTITY
    error_code = "forbidden_statement"


class RefusedStatementError(CoordinatorError):
    """The statement breaks a rule of the relay: out of sequence, revoked, chunks missing."""

    exit_code = ExitCode.REFUSED
    error_code = "refused"


class MissingChunkError(CoordinatorError):
    """A chunk that was asked for is not in the store."""

    exit_code = ExitCode.REFUSED
    error_code = "missing_chunk"


class BusyError(CoordinatorError):
    """Something else is at work here that passes soon: try again."""

    exit_code = ExitCode.TIMEOUT
    error_code = "busy"


class QuotaError(CoordinatorError):
    """A site has used up what one site may use.

    Attributes:
        limit: name of the limit, as the option that sets it.
        again_after: seconds after which the same call may succeed; None if waiting does not help.
    """

    exit_code = ExitCode.REFUSED
    error_code = "quota"

    def __init__(
        self, limit: str, message: str, *, hint: str | None = None, again_after: float | None = None
    ) -> None:
        super().__init__(f"{message} (limit {limit})", hint=hint)
        self.limit, self.again_after = limit, again_after


class ExpelledError(CoordinatorError):
    """The operator has expelled the site: it is refused whatever its certificate says."""

    exit_code = ExitCode.IDENTITY
    error_code = "expelled"
