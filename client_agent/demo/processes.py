"""Starting the demonstration's processes: one coordinator, and agents a few at a time.

Two numerical processes that share cores and spin starve each other, so cores are divided: each
agent gets a fixed number of threads and only as many run at once as there are cores for.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from client_agent.errors import AgentError, NotReadyError
from ff_protocol.errors import ExitCode

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_START_SECONDS = 30
_STOP_SECONDS = 10


class ProcessFailedError(AgentError):
    """A process of the demonstration ended with an error; its log says more."""

    exit_code = ExitCode.NOT_READY
    error_code = "process_failed"


@dataclass(frozen=True)
class Cores:
    """How the machine's cores are divided: `slots` processes of `threads` threads."""

    slots: int
    threads: int

    @classmethod
    def divide(cls, processes: int) -> "Cores":
        """Divide the cores that this process may use among at most `processes` processes."""
        available = len(os.sched_getaffinity(0))
        slots = max(1, min(processes, available))
        return cls(slots, max(1, available // slots))

    def environment(self) -> dict[str, str]:
        """The environment of a process that keeps to its share."""
        threads = str(self.threads)
        return {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


class Processes:
    """The running processes of one demonstration, stopped together."""

    def __init__(self, logs: Path, cores: Cores) -> None:
        self._logs = logs
        self.cores = cores
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def call(self, program: str, arguments: Sequence[str], log: str) -> dict[str, Any]:
        """Run `ff-agent` or `ff-coordinator` to its end; return its JSON document.

        Args:
            program: `client_agent.cli` or `coordinator.cli`.
            arguments: as on the command line; `--json` is added.
            log: name of the file in the logs folder that takes its standard error.

        Raises:
            ProcessFailedError: it did not exit with 0.
        """
        with (self._logs / f"{log}.log").open("a") as errors:
            process = self._start(program, [*arguments, "--json"], errors)
        output, _ = process.communicate()
        with self._lock:
            self._running.discard(process)
        if process.returncode != 0:
            raise ProcessFailedError(
                f"{' '.join(arguments[:1])} of {log} failed: {_message(output)}",
                hint=f"see {self._logs / (log + '.log')}",
            )
        document: dict[str, Any] = json.loads(output)
        return document

    @contextlib.contextmanager
    def coordinator(self, home: Path) -> Iterator[tuple[str, int]]:
        """Serve `home` on a free port of the loopback address; yield endpoint and process id.

        Raises:
            NotReadyError: it did not start.
        """
        with (self._logs / "coordinator.log").open("a") as errors:
            process = self._start(
                "coordinator.cli",
                ["serve", "--home", str(home), "--listen", "127.0.0.1:0", "--json"],
                errors,
            )
        try:
            yield self._endpoint(process), process.pid
        finally:
            _stop(process)

    def each(self, items: Sequence[Item], work: Callable[[Item], Outcome]) -> list[Outcome]:
        """Do `work` for every item, as many at once as there are slots; results in order."""
        with ThreadPoolExecutor(self.cores.slots) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                self.stop()
                raise

    def stop(self) -> None:
        """Ask every process to end, as Ctrl-C would, and start no more."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in running:
            _stop(process)

    def _start(self, program: str, arguments: list[str], errors: Any) -> "subprocess.Popen[str]":
        with self._lock:
            if self._stopping:
                raise ProcessFailedError("the demonstration is being stopped")
            process = subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.cores.environment(),
                # Ctrl-C reaches this process alone, which then stops the others in order.
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def _endpoint(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        timer = threading.Timer(_START_SECONDS, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
            return str(json.loads(line)["listening"])
        except (ValueError, KeyError) as error:
            raise NotReadyError(
                "the coordinator did not start", hint=f"see {self._logs / 'coordinator.log'}"
            ) from error
        finally:
            timer.cancel()


def _stop(process: "subprocess.Popen[str]") -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
        process.wait()


def _message(output: str) -> str:
    try:
        return str(json.loads(output)["message"])
    except (ValueError, KeyError, TypeError):
        return "it ended without an explanation"
