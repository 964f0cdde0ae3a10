"""The agent's side of a worker: hand over the model, exchange batches, watch, and say how it ended.

A worker is a process for one module, whatever becomes of it. It is watched by progress: CPU time
since the last question where the system tells it, wall time everywhere.
"""

import io
import os
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, TypeVar

import numpy as np

from client_agent.errors import RefusedError, ResourceError
from client_agent.sandbox.confinement import Layer
from client_agent.sandbox.lane import Lane, LaneEndedError
from client_agent.sandbox.launching import launch
from client_agent.sandbox.layers import remember
from client_agent.sandbox.limits import Limits
from client_agent.sandbox.wire import MAX_TEXT, SIZE, Answer, Start
from client_agent.sandbox.worker import Order
from ff_protocol.limits import MIB
from ff_protocol.manifest import MODULE_FILE

Item = TypeVar("Item")
Result = TypeVar("Result")

_START_SECONDS = 120.0
_END_SECONDS = 10.0


class ModelProcess:
    """A worker that holds one model.

    Attributes:
        layers: what confines it.
        pid: its number.
    """

    def __init__(self, shape: tuple[int, int, int, int], limits: Limits, lanes: int) -> None:
        """Start a worker and wait until it is confined.

        Args:
            shape: (n, C, H, W) of noise and images.
            limits: what it may use.
            lanes: how many batches it may compute side by side.

        Raises:
            ResourceError: it does not start on this machine.
        """
        self._shape = shape
        self._limits = limits
        pairs = [socket.socketpair() for _ in range(lanes)]
        self._lanes = [Lane(ours) for ours, _ in pairs]
        theirs = [end for _, end in pairs]
        order = Order(
            parent=os.getpid(),
            lanes=tuple(end.fileno() for end in theirs),
            shape=shape,
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.total_seconds,
        )
        try:
            self._process = launch(order.to_text(), order.lanes)
        finally:
            for end in theirs:
                end.close()
        self._end = weakref.finalize(self, _end, self._process, self._lanes)
        self.pid = self._process.pid
        self._clock = _CpuClock(self.pid)
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._busy = 0
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            self._free.put(lane)
        self.layers = self._wait_for_start()
        remember(self.layers)

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, model: Path) -> None:
        """Hand the model over.

        Raises:
            RefusedError: the runtime cannot load it within the limits.
        """
        with model.open("rb") as stream:
            self._load(stream, os.fstat(stream.fileno()).st_size)

    def load_bytes(self, model: bytes) -> None:
        """Hand over a model that lies in memory; as `load`."""
        self._load(io.BytesIO(model), len(model))

    def _load(self, stream: BinaryIO, left: int) -> None:
        with self._turn(self._limits.load_seconds) as lane:
            lane.send(SIZE.pack(left))
            while left:
                piece = stream.read(min(left, MIB))
                if not piece:
                    raise RefusedError(f"{MODULE_FILE}: it became shorter while it was read")
                lane.send(piece)
                left -= len(piece)
            answer = lane.receive_answer()
        if answer is not Answer.DONE:
            raise self._refusal(answer, "onnxruntime cannot load it")

    def run(self, noise: np.ndarray) -> np.ndarray:
        """Return the images of one batch: float32 [n, C, H, W] -> float32 [n, C, H, W].

        Raises:
            RefusedError: the module fails, returns another shape, breaks a limit or the runtime.
        """
        images = np.empty(self._shape, dtype=np.float32)
        with self._turn(self._limits.batch_seconds) as lane:
            lane.send(np.ascontiguousarray(noise).data.cast("B"))
            answer = lane.receive_answer()
            if answer is Answer.DONE:
                lane.receive_into(images.data.cast("B"))
        if answer is not Answer.DONE:
            raise self._refusal(answer, "fails when run")
        return images

    def side_by_side(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        """Yield `work(item)` for each item in order, as many at once as there are lanes.

        Whatever goes wrong, an interruption included, ends the process, or the batches beside it
        would be waited for.

        Args:
            work: calls `run`.
            items: one a batch; small, since all are taken at once.
        """
        pool = ThreadPoolExecutor(len(self._lanes), "lanes")
        try:
            yield from pool.map(work, items)
        except GeneratorExit:
            raise
        except BaseException:
            self.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Kill the worker, whatever it does; nothing happens if it has ended."""
        self._stop("its process has been ended")
        self._process.wait()
        # Whoever waits for an answer notices first, so that no lane is closed under its reader.
        lanes = [self._free.get(timeout=_END_SECONDS) for _ in self._lanes]
        self._end()
        for lane in lanes:
            self._free.put(lane)

    @contextmanager
    def _turn(self, cpu_seconds: float) -> Iterator[Lane]:
        """Have a lane for one question and its answer, under watch."""
        lane = self._free.get()
        with self._lock:
            self._busy += 1
        began, cpu_began = time.monotonic(), self._clock.seconds()

        def look() -> None:
            allowed = cpu_seconds * self._busy
            if self._clock.seconds() - cpu_began > allowed:
                self._stop(f"took longer than {allowed:.3g} s of computing")
            elif time.monotonic() - began > self._limits.stall_seconds:
                self._stop(f"took longer than {self._limits.stall_seconds:.3g} s for an answer")

        try:
            with lane.watched(look):
                yield lane
        except LaneEndedError as error:
            raise RefusedError(f"{MODULE_FILE}: {self._why_ended()}") from error
        finally:
            with self._lock:
                self._busy -= 1
            self._free.put(lane)

    def _wait_for_start(self) -> Layer:
        lane = self._lanes[0]
        began = time.monotonic()

        def look() -> None:
            if time.monotonic() - began > _START_SECONDS:
                self._stop(f"took longer than {_START_SECONDS:.0f} s")

        try:
            with lane.watched(look):
                word, layers = lane.receive(2)
                if word == Start.STARTED:
                    return Layer(layers)
                text = bytes([layers]) + lane.receive_rest(MAX_TEXT)
            reason = text.decode("utf-8", "replace")
        except LaneEndedError:
            reason = self._why_ended()
        raise ResourceError(
            f"the process to run a module in does not start: {reason}", hint="run: ff-agent doctor"
        )

    def _refusal(self, answer: Answer, otherwise: str) -> RefusedError:
        reasons = {
            Answer.NO_MEMORY: self._too_much_memory,
            Answer.WRONG_SHAPE: f"returned something else than float32 {list(self._shape)}",
        }
        return RefusedError(f"{MODULE_FILE}: {reasons.get(answer, otherwise)}")

    @property
    def _too_much_memory(self) -> str:
        return f"needed more memory than {self._limits.memory_bytes // MIB} MiB"

    def _stop(self, reason: str) -> None:
        """Kill the worker for a reason; the first one counts."""
        with self._lock:
            self._reason = self._reason or reason
        self._process.kill()

    def _why_ended(self) -> str:
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._stop("closed its lane")
            self._process.wait()
        with self._lock:
            self._reason = self._reason or self._meaning(self._process.returncode)
            return self._reason

    def _meaning(self, code: int) -> str:
        """Say what the end of a worker that nobody here has killed means."""
        if code == -signal.SIGXCPU:
            return f"took longer than {self._limits.total_seconds} s of computing"
        if code == -signal.SIGKILL:  # the kernel's, when the machine's memory runs out
            return self._too_much_memory
        if code < 0:
            return f"crashed the runtime (signal {-code})"
        return f"ended the runtime (exit code {code})"


class _CpuClock:
    """CPU time of another process, by the clock that clock_getcpuclockid(3) of Linux makes."""

    def __init__(self, process: int) -> None:
        self._clock = (~process << 3) | 2

    def seconds(self) -> float:
        """Return the seconds used, 0 where the system does not tell them or the process is gone."""
        try:
            return time.clock_gettime(self._clock)
        except (OSError, OverflowError):
            return 0.0


def _end(process: "subprocess.Popen[bytes]", lanes: list[Lane]) -> None:
    process.kill()
    process.wait()
    for lane in lanes:
        lane.close()
