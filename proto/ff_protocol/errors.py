"""The root of every foreseeable fault, and the one enumeration of process exit codes.

Each package derives its own hierarchy from `FederatedFactoryError`, grouped by who must act. A
command prints `message` and `hint` on one line each and exits with `exit_code`; anything else
that escapes is a bug and exits with `ExitCode.BUG`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What `ff-agent` and `ff-coordinator` return to the shell (docs/exit-codes.md)."""

    OK = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    NETWORK = 4
    IDENTITY = 5
    REFUSED = 6
    NOT_READY = 7
    RESOURCES = 8
    TIMEOUT = 9
    CONFIGURATION = 10
    MISMATCH = 11
    INTERRUPTED = 130


class FederatedFactoryError(Exception):
    """A foreseeable fault: one clear line for people, a stable identifier for scripts.

    Attributes:
        exit_code: the process exit code.
        error_code: stable identifier in lower_snake_case, for `--json`.
        hint: what the reader can do about it, or None.
    """

    exit_code: ExitCode = ExitCode.BUG
    error_code: str = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MalformedError(FederatedFactoryError):
    """Bytes from outside do not have the form that the contract demands."""

    exit_code = ExitCode.REFUSED
    error_code = "malformed"


class UntrustedError(FederatedFactoryError):
    """A signature, certificate or identity does not hold."""

    exit_code = ExitCode.IDENTITY
    error_code = "untrusted"


class PassphraseError(FederatedFactoryError):
    """The passphrase of the private keys is missing or wrong."""

    exit_code = ExitCode.IDENTITY
    error_code = "passphrase"


class SpecError(FederatedFactoryError):
    """A configuration or specification file breaks its schema; the message names key and value."""

    exit_code = ExitCode.CONFIGURATION
    error_code = "invalid_configuration"
