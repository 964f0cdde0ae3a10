"""The confined process: load one model from its first lane, then answer noise with images.

Started by `process.py` as `python -I -S -c ...`; what it needs is imported before it confines
itself, and it confines itself before it reads a byte of the model.
"""

import contextlib
import json
import os
import sys
import threading
from dataclasses import dataclass
from io import FileIO
from typing import Any

from client_agent.sandbox.confinement import confine
from client_agent.sandbox.system import die_with_parent
from client_agent.sandbox.wire import MAX_TEXT, SIZE, Answer, Start

_SIGNS_OF_NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "out of memory")


@dataclass(frozen=True)
class Order:
    """What a worker is told when it is started.

    Attributes:
        parent: process that it dies with.
        lanes: descriptors, the first one also for the model.
        shape: (n, C, H, W) of noise and images.
        memory_bytes, cpu_seconds: limits, see `Limits`.
    """

    parent: int
    lanes: tuple[int, ...]
    shape: tuple[int, int, int, int]
    memory_bytes: int
    cpu_seconds: int

    def to_text(self) -> str:
        """Serialise; `Order.from_text(order.to_text()) == order`."""
        return json.dumps(self.__dict__)

    @classmethod
    def from_text(cls, text: str) -> "Order":
        """Parse what the agent wrote."""
        value = json.loads(text)
        return cls(**value | {"lanes": tuple(value["lanes"]), "shape": tuple(value["shape"])})


def main(text: str) -> None:
    """Serve until the agent closes the lanes; never returns."""
    order = Order.from_text(text)
    lanes = [FileIO(number, "r+") for number in order.lanes]
    try:
        with contextlib.suppress(OSError, AttributeError):  # the lanes end with the agent too
            die_with_parent()
        if os.getppid() != order.parent:
            os._exit(0)
        runtime = Runtime(order.shape)
        layers = confine(order.memory_bytes, order.cpu_seconds, len(lanes))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".encode()[:MAX_TEXT]
        _send(lanes[0], bytes([Start.FAILED]) + reason)
        os._exit(1)
    _send(lanes[0], bytes([Start.STARTED, layers]))
    (size,) = SIZE.unpack(_receive(lanes[0], SIZE.size))
    _send(lanes[0], bytes([runtime.load(_receive(lanes[0], size))]))
    for lane in lanes[1:]:
        threading.Thread(target=_serve, args=(lane, runtime), daemon=True).start()
    _serve(lanes[0], runtime)
    os._exit(0)


class Runtime:
    """onnxruntime with every option that influences the result fixed."""

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        import numpy as np
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        # Admission has read the file as ONNX: whatever else it may pass for, it is run as that.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        self._options = options
        self._open = ort.InferenceSession
        self._frombuffer = np.frombuffer
        self._contiguous = np.ascontiguousarray
        self._float32 = np.dtype(np.float32)
        self._session: Any = None
        self._shape = shape
        self.batch_bytes = 4 * shape[0] * shape[1] * shape[2] * shape[3]

    def load(self, model: bytearray) -> Answer:
        """Make the session."""
        try:
            self._session = self._open(
                bytes(model), self._options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            return _fault(error)
        return Answer.DONE

    def run(self, noise: bytearray) -> tuple[Answer, memoryview]:
        """Turn noise into images, both as raw bytes."""
        batch = self._frombuffer(noise, self._float32).reshape(self._shape)
        nothing = memoryview(b"")
        try:
            (images,) = self._session.run(["image"], {"noise": batch})
        except Exception as error:  # onnxruntime's exceptions share no public base
            return _fault(error), nothing
        if images.shape != self._shape or images.dtype != self._float32:
            return Answer.WRONG_SHAPE, nothing
        return Answer.DONE, self._contiguous(images).data.cast("B")


def _fault(error: Exception) -> Answer:
    text = str(error)
    if isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS_OF_NO_MEMORY):
        return Answer.NO_MEMORY
    return Answer.RAISED


def _serve(lane: FileIO, runtime: Runtime) -> None:
    while True:
        answer, images = runtime.run(_receive(lane, runtime.batch_bytes))
        _send(lane, bytes([answer]))
        _send(lane, images)


def _receive(lane: FileIO, size: int) -> bytearray:
    """Read exactly `size` bytes; the end of the lane is the end of this process."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = lane.readinto(view)
        if not count:
            os._exit(0)
        view = view[count:]
    return data


def _send(lane: FileIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[lane.write(view) or 0 :]
        except OSError:
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
