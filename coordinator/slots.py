"""Taking turns: how many chunks are worked on at once, in the order in which they came.

Without this every stream's thread competes for the interpreter, the thread that accepts connections
among them: with 200 transfers a new site's handshake then takes longer than it waits.
"""

import threading
from collections import deque


class Slots:
    """A semaphore that is handed on in order of arrival, so that no stream overtakes another."""

    def __init__(self, number: int) -> None:
        self._lock = threading.Lock()
        self._free = number
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # released by whoever hands the slot on

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
