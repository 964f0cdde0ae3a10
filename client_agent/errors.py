"""The agent's faults, grouped by who must act. Each has one exit code and a stable identifier."""

from typing import TypeVar

from ff_protocol.errors import ExitCode, FederatedFactoryError


class AgentError(FederatedFactoryError):
    """Base of every foreseeable fault of `ff-agent`."""


class UsageError(AgentError):
    """The command was called with arguments that cannot work together."""

    exit_code = ExitCode.USAGE
    error_code = "usage"


class DataError(AgentError):
    """The images or labels given cannot be used: the site's data scientist must act."""

    exit_code = ExitCode.DATA
    error_code = "data"


class TrainingError(AgentError):
    """Training cannot go on (for example a loss that is not finite)."""

    exit_code = ExitCode.DATA
    error_code = "training"


class NetworkError(AgentError):
    """The coordinator cannot be reached or the connection broke: nothing is lost, run again.

    `transient` says whether waiting may help (a restart, a cut line) or someone must act (a name
    that does not exist, a server that is not ours).
    """

    exit_code = ExitCode.NETWORK
    error_code = "network"
    transient = True


class IdentityError(AgentError):
    """This site's or a peer's identity does not hold (certificate, invitation, federation)."""

    exit_code = ExitCode.IDENTITY
    error_code = "identity"


class RefusedError(AgentError):
    """A foreign object was refused; the message says by which rule.

    Attributes:
        refusal_code: stable identifier of the rule of admission (docs/protocol.md lists them);
            None where it is no rule of admission.
    """

    exit_code = ExitCode.REFUSED
    error_code = "refused"

    def __init__(
        self, message: str, *, hint: str | None = None, refusal_code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.refusal_code = refusal_code


class ReleaseRefusedError(RefusedError):
    """An own module may not leave: figures of its card fail the site's policy."""

    error_code = "release_refused"


class NotReadyError(AgentError):
    """An earlier step is missing; the hint names the command to run first."""

    exit_code = ExitCode.NOT_READY
    error_code = "not_ready"


class ResourceError(AgentError):
    """Disk, memory or another local resource ran out."""

    exit_code = ExitCode.RESOURCES
    error_code = "resources"


class WaitTimeoutError(AgentError):
    """What was waited for did not come in the time given."""

    exit_code = ExitCode.TIMEOUT
    error_code = "timeout"


Fault = TypeVar("Fault", bound=FederatedFactoryError)


def reworded(error: Fault, message: str) -> Fault:
    """Give a fault another message, usually one that says where it arose, and return it."""
    error.message = message
    error.args = (message,)
    return error
