"""What passes between the process that owns the home and its workers.

Both ends are processes of one user and one version, started by each other: they exchange pickles.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ff_protocol.errors import FederatedFactoryError


@dataclass(frozen=True, eq=False)
class Order:
    """A job to carry out; `kept` is name and content of the file to go on from, if there is one."""

    function: Callable[..., Iterator[Any]]
    description: Any
    kept_name: str | None
    kept: bytes | None


@dataclass(frozen=True)
class Progressed:
    """The job has come so far."""

    fraction: float
    text: str


@dataclass(frozen=True)
class Noted:
    """The job says a line."""

    text: str


@dataclass(frozen=True, eq=False)
class Kept:
    """New content of the file that the job keeps."""

    data: bytes


@dataclass(frozen=True, eq=False)
class Result:
    """The job has yielded something."""

    value: Any


@dataclass(frozen=True)
class Done:
    """The job ended well."""


@dataclass(frozen=True)
class Stopped:
    """The job ended because it was asked to."""


@dataclass(frozen=True, eq=False)
class Failed:
    """The job ended with a foreseeable fault."""

    error: FederatedFactoryError


@dataclass(frozen=True)
class Broken:
    """The job ended with a bug of ours: its traceback."""

    text: str


@dataclass(frozen=True)
class Died:
    """The worker ended in the middle of a job."""

    reason: str


Message = Progressed | Noted | Kept | Result | Done | Stopped | Failed | Broken | Died
LAST = (Done, Stopped, Failed, Broken, Died)
"""After one of these a worker has no job."""
