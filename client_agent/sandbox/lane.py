"""The agent's end of one lane to a worker: bytes in and out, now and then a look at the clock."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from client_agent.sandbox.wire import Answer

_LOOK_SECONDS = 0.25


def _look_away() -> None:
    """Watch nothing."""


class LaneEndedError(Exception):
    """The worker has closed its end, or has gone."""


class Lane:
    """One socket to a worker."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.settimeout(_LOOK_SECONDS)
        self._look: Callable[[], None] = _look_away

    @contextmanager
    def watched(self, look: Callable[[], None]) -> Iterator[None]:
        """Have `look` called for a while; it is not kept, as it may hold the lane's owner."""
        self._look = look
        try:
            yield
        finally:
            self._look = _look_away

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it.

        Raises:
            LaneEndedError: nobody takes it any more.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                self._look()
            except OSError as error:
                raise LaneEndedError from error

    def receive_into(self, view: memoryview) -> None:
        """Fill `view`.

        Raises:
            LaneEndedError: the lane ended before.
        """
        while view:
            try:
                count = self._socket.recv_into(view)
            except TimeoutError:
                self._look()
                continue
            except OSError as error:
                raise LaneEndedError from error
            if not count:
                raise LaneEndedError
            view = view[count:]

    def receive(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            LaneEndedError: the lane ended before.
        """
        data = bytearray(size)
        self.receive_into(memoryview(data))
        return bytes(data)

    def receive_answer(self) -> Answer:
        """Return the worker's next answer; what is none stands for a failure.

        Raises:
            LaneEndedError: the lane ended before.
        """
        (byte,) = self.receive(1)
        return Answer(byte) if byte in tuple(Answer) else Answer.RAISED

    def receive_rest(self, limit: int) -> bytes:
        """Return what comes until the lane ends, at most `limit` bytes."""
        data = b""
        try:
            while len(data) < limit:
                data += self.receive(1)
        except LaneEndedError:
            pass
        return data

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
