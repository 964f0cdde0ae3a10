"""Heavy work in a process of its own: at low priority, with its memory given back at the end.

The process runs the command that a person would type (worker.py). It holds the home's lock, can be
stopped at any time without loss, and ends with the service: closing its standard input stops it,
which the end of the service does as well, however it comes.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from client_agent.errors import ResourceError
from client_agent.service.agenda import Task
from client_agent.service.events import Ended, Events
from client_agent.service.faults import BUG, KILLED
from ff_protocol.errors import ExitCode
from ff_protocol.limits import MIB

STOP_SECONDS = 20.0
"""A stopped process writes a checkpoint; after this long it is killed, which loses no more."""
_MAX_LINE = 500
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Order:
    """What the process is told on its standard input, in one line.

    Attributes:
        arguments: as on the command line of `ff-agent`.
        nice: the priority to sink to, 0 to 19 as in nice(1).
        gpu_memory: the largest share of the GPU's memory to take, 0 to 1; None: no limit.
    """

    arguments: tuple[str, ...]
    nice: int = 0
    gpu_memory: float | None = None

    def to_line(self) -> bytes:
        """Return the line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Order":
        """Invert `to_line`."""
        value = json.loads(line)
        return cls(tuple(value["arguments"]), value["nice"], value["gpu_memory"])


@dataclass(frozen=True)
class Outcome:
    """How work ended.

    Attributes:
        document: what the command printed; empty if it printed nothing.
        kind: None if it succeeded or was stopped, else the name to count the fault under.
        message: what went wrong.
        stopped: it was stopped and goes on another time.
    """

    document: dict[str, Any]
    kind: str | None = None
    message: str = ""
    stopped: bool = False


class HeavyWork:
    """One process at work.

    Attributes:
        task: what it does.
        remark: the last line that it said.
        why_stopped: why it was told to stop; None if it was not.
    """

    def __init__(
        self, task: Task, order: Order, events: Events, on_line: Callable[[str], None]
    ) -> None:
        """Start it.

        Args:
            task: what it does.
            order: how.
            events: hears of its end.
            on_line: called in another thread with every line that it says.

        Raises:
            ResourceError: this machine cannot start another process.
        """
        self.task, self.remark = task, ""
        self.why_stopped: str | None = None
        self._events, self._on_line = events, on_line
        self._began = time.monotonic()
        self._stop_at = float("inf")
        command = [sys.executable, "-P", "-m", "client_agent.service.worker"]
        try:
            self._process = _start(command)
        except OSError as error:
            raise ResourceError(f"cannot start a process: {error.strerror}") from error
        self._out = b""
        self._reader = threading.Thread(target=self._read, name="heavy work", daemon=True)
        self._reader.start()
        self._say(order.to_line())

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began

    @property
    def ended(self) -> bool:
        """Whether it has ended and all that it said has been heard."""
        return not self._reader.is_alive()

    def stop(self, why: str) -> None:
        """Have it stop soon; it keeps what it has done."""
        if self.why_stopped is None:
            self.why_stopped = why
            self._stop_at = time.monotonic() + STOP_SECONDS
            self._hang_up()

    def press(self) -> None:
        """Kill it if it was told to stop and took too long."""
        if time.monotonic() > self._stop_at:
            self._process.kill()

    def wait(self) -> None:
        """Stop it and wait for its end."""
        self.stop("the service ends")
        self._reader.join(STOP_SECONDS)
        if not self.ended:
            self._process.kill()
            self._reader.join(STOP_SECONDS)

    def outcome(self) -> Outcome:
        """Return how it ended."""
        code, document = self._process.wait(), _document(self._out)
        if code == ExitCode.OK:
            return Outcome(document)
        if self.why_stopped is not None or code == ExitCode.INTERRUPTED:
            return Outcome(document, stopped=True)
        if code < 0:
            return Outcome(document, KILLED, f"it was killed by signal {-code}")
        message = document.get("message") or self.remark or f"it ended with exit code {code}"
        return Outcome(document, document.get("error_code") or BUG, str(message))

    def _read(self) -> None:
        """Hear what it says until it ends."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        stdout, stderr = self._process.stdout, self._process.stderr

        def keep() -> None:
            self._out = stdout.read(MIB)
            while stdout.read(MIB):  # what nobody wants must not block it
                pass

        other = threading.Thread(target=keep, name="heavy work's result", daemon=True)
        other.start()
        for line in iter(lambda: stderr.readline(_MAX_BYTES), b""):
            text = line.decode("utf-8", "replace").rstrip()[:_MAX_LINE]
            if text:
                self.remark = text
                self._on_line(text)
        other.join()
        self._process.wait()
        self._hang_up()
        self._events.put(Ended())

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: `outcome` says how
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _hang_up(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # a Ctrl-C on the terminal is for the service alone
    )


def _document(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
