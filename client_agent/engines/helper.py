"""A process of the agent's own, and the line to it.

It has a session of its own, so that Ctrl-C on the terminal reaches the agent alone, which then asks
its helpers to stop. The end of the line is the end of the helper: it outlives no agent.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import client_agent
from client_agent.errors import ResourceError

_START = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "import importlib; importlib.import_module(sys.argv[1]).main(int(sys.argv[2]))"
)


class Helper:
    """A started process.

    Attributes:
        line: to it.
        pid: its number.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        """Start `module.main(descriptor)` in a fresh interpreter.

        Args:
            module: of this package.
            environment: what differs from this process's.

        Raises:
            ResourceError: this machine cannot start another process.
        """
        own = str(Path(client_agent.__file__).parent.parent)
        path = [str(Path(entry).absolute()) for entry in sys.path]
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, module, str(theirs.fileno()), own, *path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **environment},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise ResourceError(
                f"cannot start a worker: {error.strerror}",
                hint="free memory or raise the limit on processes, then run the same command again",
            ) from error
        finally:
            theirs.close()
        self.line = Connection(ours.detach())
        self.pid = self._process.pid

    def send(self, value: Any) -> None:
        """Send it a value; nothing happens if it has ended, which its line tells anyway."""
        try:
            self.line.send_bytes(pickle.dumps(value, protocol=5))
        except OSError:
            return

    def receive(self) -> Any:
        """Return the next value that it sent.

        Raises:
            EOFError: it has ended.
        """
        try:
            data = self.line.recv_bytes()
        except OSError as error:
            raise EOFError from error
        return pickle.loads(data)  # noqa: S301 - from a process that this one started

    def end(self, patience: float = 0.0) -> str:
        """End it, after `patience` seconds if it does not do so by itself; say how it ended."""
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.line.close()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def listen(descriptor: int, take: Callable[[Any], None]) -> Callable[[Any], None]:
    """In a helper: have `take` called, in a thread, with what the agent sends.

    Returns:
        A function that sends the agent a value.
    """
    line = Connection(descriptor)
    lock = threading.Lock()

    def follow() -> None:
        while True:
            try:
                data = line.recv_bytes()
            except (EOFError, OSError):
                os.kill(os.getpid(), signal.SIGKILL)
                return
            take(pickle.loads(data))  # noqa: S301 - from the process that started this one

    def send(value: Any) -> None:
        data = pickle.dumps(value, protocol=5)
        with lock:
            line.send_bytes(data)

    threading.Thread(target=follow, name="listen", daemon=True).start()
    return send
