"""Commands as processes of their own that need not load torch first: forked from one that has.

Loading the numerical libraries costs a command of the agent five to ten seconds of a core, most of
them for nothing that a test looks at. One process loads them, starts no thread, and forks for each
command: own process id, exit code, signals, limits and pipes, as `python -m` would have given it.
What depends on how a process starts (its environment when libraries load, what `--help` imports,
how much memory it takes) is tested with real starts.
"""

import array
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.traces import share_traces

PRELOADED = {
    "agent": (
        *("client_agent.cli", "client_agent.steps.fit", "client_agent.steps.train"),
        *("client_agent.classifier.export", "client_agent.classifier.prediction"),
        *("client_agent.classifier.evaluation", "client_agent.generator.training"),
        *("client_agent.module.export", "client_agent.sources.load"),
        *("client_agent.sources.folder", "PIL.Image", "pydicom", "rich.progress"),
    ),
    "coordinator": ("coordinator.cli", "coordinator.authority", "coordinator.invitations"),
}
"""What each kind of command uses. Not onnxruntime, which starts a thread, and not gRPC."""
_REQUEST_BYTES = 1 << 20


class WarmProcess:
    """A forked command: the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, pipes: Sequence[int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        out, err, self._ended = pipes
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._collect()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code, minus the signal's number if killed."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked command", timeout or 0)
            self._collect()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end and return what it wrote."""
        read: dict[str, str] = {}
        readers = [
            threading.Thread(target=lambda n=name: read.update({n: getattr(self, n).read()}))
            for name in ("stdout", "stderr")
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        self.stdout.close()
        self.stderr.close()
        return read["stdout"], read["stderr"]

    def send_signal(self, number: int) -> None:
        """Signal it if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _collect(self) -> None:
        status = os.read(self._ended, 64)
        os.close(self._ended)
        assert status, "the process that forks has died"
        self.returncode = os.waitstatus_to_exitcode(int(status))


class Warm:
    """The process that forks; it starts with the first command and ends with this process."""

    def __init__(self, kind: str, environment: Mapping[str, str]) -> None:
        self._kind, self._environment = kind, dict(environment)
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether a command with this environment would find the libraries as it expects them."""
        return dict(environment) == self._environment

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        before: str = "",
        longest_file: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> WarmProcess:
        """Fork a command.

        Args:
            module: whose `main` it is.
            arguments: as on the command line.
            before: Python that is run first.
            longest_file: bytes that it may write to one file, as on a full disk.
            environment: of the command; what the libraries read when they load is past.
        """
        request = {
            "module": module,
            "arguments": list(arguments),
            "before": before,
            "longest_file": longest_file,
            "folder": str(Path.cwd()),
            "environment": dict(self._environment if environment is None else environment),
        }
        pipes = [os.pipe() for _ in range(3)]
        with self._lock:
            channel = self._channel()
            theirs = array.array("i", [write for _, write in pipes])
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, theirs)]
            channel.sendmsg([json.dumps(request).encode()], control)
            answer = channel.recv(64)
        for _, write in pipes:
            os.close(write)
        assert answer, "the process that forks has died"
        return WarmProcess(int(answer), [read for read, _ in pipes])

    def _channel(self) -> socket.socket:
        if self._server is None or self._server.poll() is not None:
            self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", self._kind, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=Path(__file__).parents[1],
            )
            theirs.close()
        return self._ours


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for every request; return the request in the child, None when nobody asks any more."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready, _, _ = select.select([channel, *running], [], [])
        for watched in set(ready).intersection(running):
            pid, ended = running.pop(watched)
            os.write(ended, str(os.waitpid(pid, 0)[1]).encode())
            os.close(ended)
            os.close(watched)
        if channel not in ready:
            continue
        data, files, _, _ = socket.recv_fds(channel, _REQUEST_BYTES, 3)
        if not data:
            return None
        pid = os.fork()
        if pid == 0:
            for watched, (_, ended) in running.items():
                os.close(watched)
                os.close(ended)
            channel.close()
            os.dup2(files[0], 1)
            os.dup2(files[1], 2)
            for file in files:
                os.close(file)
            request: dict[str, Any] = json.loads(data)
            return request
        os.close(files[0])
        os.close(files[1])
        running[os.pidfd_open(pid)] = (pid, files[2])
        channel.send(str(pid).encode())


def main() -> None:
    """Load the libraries, then fork commands; a child goes on here with its command."""
    kind, channel = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    for module in PRELOADED[kind]:
        importlib.import_module(module)
    if kind == "agent":
        share_traces()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads must not fork"
    assert "grpc" not in sys.modules, "gRPC must not be loaded before a fork"
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that holds an object
    request = serve(channel)
    if request is not None:
        os._exit(run(request))


def run(request: dict[str, Any]) -> int:
    """Run a command in a forked child; return its exit code.

    The interpreter is not taken down afterwards: that takes as long as loading.
    """
    # A shell that starts the tests in the background has them ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    limit = request["longest_file"]
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        command = importlib.import_module(request["module"])
        # As `python -m` would call itself in a usage line.
        sys.modules["__main__"].__package__ = request["module"].rpartition(".")[0]
        sys.argv = [command.__file__ or "", *request["arguments"]]
        exec(request["before"])
        command.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
