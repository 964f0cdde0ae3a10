"""`service.json`: what the service last said of itself, for `ff-agent status` and across restarts.

`.service.lock` is held as long as the service runs, so that there is one for a home.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from client_agent.errors import UsageError
from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import MIB
from ff_protocol.schema import Strict, parse

_CLAIM_SECONDS = 1.0


class Fault(Strict):
    """The last fault: when (RFC 3339), which (an error identifier), and what it said."""

    at: str
    kind: str
    message: str


class ServiceRecord(Strict):
    """How the service is.

    Attributes:
        pid: its process.
        started_at: when it began, RFC 3339 like every time here.
        activity: what it does, in a line.
        last_contact: when the coordinator last answered.
        last_round: when everything was last compared with it.
        last_fit: when a classifier was last made.
        last_fit_seconds: how long that took.
        next_opening: when heavy work that waits for its hours may begin.
        errors: number of faults since the start, by error identifier.
        last_error: the last of them.
    """

    pid: int = 0
    started_at: str = ""
    activity: str = ""
    last_contact: str | None = None
    last_round: str | None = None
    last_fit: str | None = None
    last_fit_seconds: float | None = None
    next_opening: str | None = None
    errors: dict[str, int] = Field(default_factory=dict)
    last_error: Fault | None = None

    def write(self, home: Home) -> None:
        """Keep it in the home."""
        write_atomically(home.service_record, canonical.dumps(self.model_dump(mode="json")))


def read_service_record(home: Home) -> ServiceRecord | None:
    """Return what the service of a home last said, None if none ever ran.

    A record of another version counts as none.
    """
    try:
        data = read_bounded(home.service_record, MIB, "service record")
        return parse(ServiceRecord, canonical.loads(data, max_bytes=MIB), "service record")
    except (FileNotFoundError, FederatedFactoryError):
        return None


@contextlib.contextmanager
def claim(home: Home) -> Iterator[None]:
    """Be the one service of this home until the context is left.

    Raises:
        UsageError: there is one already.
        StorageError: the home cannot be written.
    """
    try:
        stream = home.service_lock.open("a")
    except OSError as error:
        raise storage_error(error, home.service_lock) from error
    with stream:
        begun = time.monotonic()
        while not _take(stream.fileno()):
            # `status` takes it for a moment to see whether it is free.
            if time.monotonic() - begun > _CLAIM_SECONDS:
                record = read_service_record(home)
                who = f" (process {record.pid})" if record else ""
                raise UsageError(
                    f"ff-agent serve{who} is running for {home.root} already",
                    hint="one is enough; ff-agent status says how it is",
                )
            time.sleep(0.05)
        yield


def is_running(home: Home) -> bool:
    """Say whether a service runs for this home. Needs no right to write."""
    try:
        descriptor = os.open(home.service_lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def service_status(home: Home) -> dict[str, Any] | None:
    """Return the service's state as plain values, None if none ever ran."""
    record = read_service_record(home)
    if record is None:
        return None
    return {"running": is_running(home), **record.model_dump(mode="json")}


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
