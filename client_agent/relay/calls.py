"""Making gRPC calls so that Ctrl-C cannot break them, and so that a silent stream ends.

An exception in the middle of gRPC's own code can leave a lock of its taken for ever, and closing
the channel would wait for it. So the main thread only ever waits on a queue: a call's end is
announced in gRPC's thread, and a stream is read by a thread of its own.
"""

import threading
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from typing import Any

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from ff_protocol.stopping import held, opened


class StalledError(Exception):
    """No message came in time."""


def answer(method: Any, request: Any, seconds: float) -> Any:
    """Return the answer of a call with one.

    Args:
        method: a unary-unary callable of a stub.
        request: its message.
        seconds: the longest wait.

    Raises:
        grpc.RpcError: from the call.
    """
    ended: SimpleQueue[Any] = SimpleQueue()
    with opened(
        lambda: method.future(request, timeout=seconds), lambda call: call.cancel()
    ) as call:
        with held:
            call.add_done_callback(ended.put)
        ended.get()
        with held:
            if call.code() is grpc.StatusCode.OK:
                return call.result()
            raise call


def stream(start: Callable[[], Any], stall_seconds: float) -> Generator[Any, None, None]:
    """Yield what a streaming call yields; end it if the next message takes too long.

    The time that the consumer takes between two messages does not count: gRPC's deadlines bound a
    whole call, not a pause in it.

    Args:
        start: makes the call.
        stall_seconds: the longest wait for a message.

    Raises:
        grpc.RpcError: from the call.
        StalledError: it was cancelled here.
    """
    with opened(lambda: _Reader(start()), _Reader.end) as reader:
        while True:
            try:
                message, fault = reader.next(stall_seconds)
            except Empty:
                raise StalledError(stall_seconds) from None
            if fault is not None:
                raise fault
            if message is _END:
                return
            yield message


_END = object()


class _Reader:
    """A thread that asks a call for its next message when told to."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._read: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()
        threading.Thread(
            target=_read, args=(call, self._wanted, self._read), name="reader", daemon=True
        ).start()

    def __del__(self) -> None:
        self._wanted.put(False)  # ends the thread

    def next(self, seconds: float) -> tuple[Any, Exception | None]:
        """Return the next message, `_END` after the last, or the fault.

        Raises:
            Empty: nothing within so many seconds.
        """
        self._wanted.put(True)
        return self._read.get(timeout=seconds)

    def end(self) -> None:
        """Cancel the call."""
        self._call.cancel()


def _read(call: Any, wanted: "SimpleQueue[bool]", read: "SimpleQueue[Any]") -> None:
    messages = iter(call)
    while wanted.get():
        try:
            read.put((next(messages, _END), None))
        except Exception as error:
            read.put((None, error))
