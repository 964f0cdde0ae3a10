"""Ending a stream that stands still: gRPC's deadlines bound a whole call, not a pause in it."""

import threading
import time
from collections.abc import Iterator
from typing import Any


def watched(call: Any, stall_seconds: float) -> Iterator[Any]:
    """Yield what a streaming call yields; cancel it if the next message takes too long.

    The time that the consumer takes between two messages does not count.

    Args:
        call: a gRPC streaming call.
        stall_seconds: the longest wait for a message.

    Raises:
        grpc.RpcError: from the call.
        StalledError: cancelled here.
    """
    messages = iter(call)
    dog = _Watchdog(call, stall_seconds)
    try:
        while True:
            dog.deadline = time.monotonic() + stall_seconds
            try:
                message = next(messages)
            except StopIteration:
                return
            except Exception as error:
                if dog.bitten:
                    raise StalledError(stall_seconds) from error
                raise
            dog.deadline = None
            yield message
    finally:
        dog.stop()


class _Watchdog:
    """One thread a call that looks at the deadline of the message awaited, if one is."""

    def __init__(self, call: Any, stall_seconds: float) -> None:
        self.deadline: float | None = None
        self.bitten = False
        self._call = call
        self._stall_seconds = stall_seconds
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        pause = self._stall_seconds
        while not self._stopped.wait(pause):
            deadline = self.deadline
            # While nothing is awaited the earliest deadline is a whole stall away.
            left = self._stall_seconds if deadline is None else deadline - time.monotonic()
            if left <= 0:
                self.bitten = True
                self._call.cancel()
                return
            pause = left


class StalledError(Exception):
    """No message came in time."""
