"""What the doctor says: one line a check, and whom to ask for what."""

from dataclasses import dataclass
from typing import Literal

from ff_protocol.errors import ExitCode

Check = Literal[
    "disk",
    "certificate",
    "sandbox",
    "proxy",
    "name",
    "port",
    "tls",
    "interception",
    "alpn",
    "server",
    "permission",
    "version",
    "clock",
]

EXIT_CODES: dict[str, ExitCode] = {
    "disk": ExitCode.RESOURCES,
    "certificate": ExitCode.IDENTITY,
    "sandbox": ExitCode.RESOURCES,
    "proxy": ExitCode.NETWORK,
    "name": ExitCode.NETWORK,
    "port": ExitCode.NETWORK,
    "tls": ExitCode.NETWORK,
    "interception": ExitCode.NETWORK,
    "alpn": ExitCode.NETWORK,
    "server": ExitCode.IDENTITY,
    "permission": ExitCode.IDENTITY,
    "version": ExitCode.NETWORK,
    "clock": ExitCode.IDENTITY,
}
"""How `ff-agent doctor` ends if the check is the first that failed."""


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        check: what was looked at.
        ok: whether it is as it should be.
        found: what was seen, one line.
        ask: what to do, or to ask of whom; empty if nothing.
    """

    check: Check
    ok: bool
    found: str
    ask: str = ""


def exit_code(findings: tuple[Finding, ...]) -> ExitCode:
    """Return the exit code of the first check that failed."""
    return next((EXIT_CODES[item.check] for item in findings if not item.ok), ExitCode.OK)
