"""A worker's side: carry out one order and send what comes of it.

The file that a job keeps lies in a private folder of the worker's machine, in memory where there
is room, and every new state of it is sent to the owner of the home with the next sign of progress.
"""

import contextlib
import os
import pickle
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from client_agent.engines.messages import (
    Broken,
    Done,
    Failed,
    Kept,
    Message,
    Noted,
    Order,
    Progressed,
    Result,
    Stopped,
)
from client_agent.errors import ResourceError
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.limits import MIB

_PREFIX = "federated-factory-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a name that nobody can guess, mode 0700
_ROOM = 1024 * MIB


def carry_out(data: bytes, send: Callable[[Message], None], stop: threading.Event) -> None:
    """Carry out a pickled `Order`; the last message says how it ended.

    Args:
        data: the order.
        send: takes messages to the owner of the home.
        stop: once set, the job ends at its next sign of progress.
    """
    last: Message = Done()
    with scratch_folder() as scratch:
        channel = _Channel(scratch, send, stop)
        try:
            order: Order = pickle.loads(data)  # noqa: S301 - from the process that started this one
            channel.unpack(order)
            for value in order.function(order.description, channel):
                channel.hand_over()
                send(Result(value))
        except KeyboardInterrupt:
            last = Stopped()
        except FederatedFactoryError as error:
            last = Failed(error)
        except MemoryError:
            last = Failed(ResourceError("memory ran out", hint="use fewer --workers"))
        except Exception:
            last = Broken(traceback.format_exc())
        with contextlib.suppress(OSError):
            channel.hand_over()
    send(last)


class _Channel:
    def __init__(
        self, scratch: Path, send: Callable[[Message], None], stop: threading.Event
    ) -> None:
        self.scratch = scratch
        self.kept: Path | None = None
        self._send, self._stop = send, stop
        self._sent: tuple[int, int] | None = None

    def unpack(self, order: Order) -> None:
        """Lay the kept file out."""
        if order.kept_name is not None:
            self.kept = self.scratch / "kept" / order.kept_name
            self.kept.parent.mkdir(mode=0o700)
            if order.kept is not None:
                self.kept.write_bytes(order.kept)
                self._sent = self._state()

    def progress(self, fraction: float, text: str = "") -> None:
        """See `engine.Channel`."""
        self.hand_over()
        self._send(Progressed(fraction, text))
        if self._stop.is_set():
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        """See `engine.Channel`."""
        self._send(Noted(text))

    def hand_over(self) -> None:
        """Send the kept file if it has changed; it is replaced whole, never written into."""
        now = self._state()
        if self.kept is not None and now is not None and now != self._sent:
            self._send(Kept(self.kept.read_bytes()))
            self._sent = now

    def _state(self) -> tuple[int, int] | None:
        if self.kept is None:
            return None
        try:
            found = self.kept.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a private folder; first remove those of workers that were killed."""
    sweep()
    base = Path(tempfile.gettempdir())
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM:
        base = _MEMORY
    with tempfile.TemporaryDirectory(
        prefix=f"{_PREFIX}{os.getpid()}-", dir=base, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def sweep(prefix: str = _PREFIX) -> None:
    """Remove folders PREFIX<process>-... of processes that were killed and could not do so."""
    for base in {_MEMORY, Path(tempfile.gettempdir()), Path("/tmp")}:  # noqa: S108 - none is made
        for left in base.glob(f"{prefix}*"):
            owner = left.name.removeprefix(prefix).partition("-")[0]
            if owner.isdecimal() and not _lives(int(owner)):
                shutil.rmtree(left, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
