"""Which format a home has, and whether this program may work in it.

`site.yaml` names it (`version:`), and the program that last brought it there (`program:`), so that
a program that is too old can say which one is needed. Homes made before formats were counted are of
format 1. An upgrade that is under way leaves a journal in the home (client_agent/upgrade/moves.py).
"""

from dataclasses import dataclass
from typing import Any, Final

from client_agent.errors import AgentError
from client_agent.home import Home
from ff_protocol import __version__
from ff_protocol.errors import ExitCode, FederatedFactoryError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_SPEC_BYTES
from ff_protocol.schema import load_yaml

FORMAT: Final = 2
"""What this program writes and reads."""


class OutdatedHomeError(AgentError):
    """The home was made by an earlier version, or its upgrade was interrupted."""

    exit_code = ExitCode.NOT_READY
    error_code = "home_outdated"


class NewerHomeError(AgentError):
    """The home belongs to a later version of the program."""

    exit_code = ExitCode.CONFIGURATION
    error_code = "home_too_new"


@dataclass(frozen=True)
class HomeFormat:
    """What a home says of itself.

    Attributes:
        version: of its format.
        program: version of the program that wrote it so; None: not noted.
        unfinished: an upgrade, or the way back, was interrupted.
    """

    version: int
    program: str | None
    unfinished: bool


def read_format(home: Home) -> HomeFormat:
    """Read the format of a home that has joined; 1 where `site.yaml` is damaged.

    Damage is for whoever reads the whole file to name.
    """
    try:
        text = read_bounded(home.site_file, MAX_SPEC_BYTES, "site.yaml").decode("utf-8")
        value: Any = load_yaml(text, "site.yaml")
    except (OSError, UnicodeDecodeError, FederatedFactoryError):
        value = None
    return format_of(value, unfinished=home.upgrade_journal.exists())


def format_of(site_yaml: Any, *, unfinished: bool) -> HomeFormat:
    """Return the format that the parsed contents of a `site.yaml` name."""
    value = site_yaml if isinstance(site_yaml, dict) else {}
    version, program = value.get("version", 1), value.get("program")
    return HomeFormat(
        version=version if type(version) is int and version >= 1 else 1,
        program=program[:40] if isinstance(program, str) else None,
        unfinished=unfinished,
    )


def check_format(found: HomeFormat, where: object) -> None:
    """Make sure that this program may work in a home.

    Raises:
        OutdatedHomeError: it has to be upgraded first, or its upgrade finished.
        NewerHomeError: a later program is needed.
    """
    if found.version > FORMAT:
        raise newer(found, where)
    if found.unfinished:
        raise OutdatedHomeError(
            f"an upgrade of {where} was interrupted", hint="finish it: ff-agent upgrade"
        )
    if found.version < FORMAT:
        raise OutdatedHomeError(
            f"{where} was made by an earlier version (format {found.version}, this program works "
            f"in format {FORMAT})",
            hint="ff-agent upgrade --check says what changes, ff-agent upgrade does it",
        )


def newer(found: HomeFormat, where: object) -> NewerHomeError:
    """Say that a home is ahead of this program."""
    needed = f"ff-agent {found.program}" if found.program else "a later ff-agent"
    return NewerHomeError(
        f"{where} is of format {found.version}, written by {needed}; this is {__version__} and "
        f"reads formats up to {FORMAT}",
        hint=f"install {needed} or later; to go back instead, run its ff-agent upgrade --back",
    )
