"""A worker of the Ray engine: an actor that carries out one order at a time.

Whoever hands out the orders asks for messages again and again, and gets those that have gathered,
sealed.
"""

import contextlib
import pickle
import platform
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

from client_agent.engines.messages import LAST, Failed, Message, Noted, Progressed
from client_agent.engines.sealing import seal, unseal
from client_agent.engines.work import carry_out
from client_agent.errors import ResourceError
from ff_protocol import __version__

_WAIT_SECONDS = 1.0


class RayWorker:
    """The actor; its methods are called side by side."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._stop = threading.Event()
        self._key = b""

    def begin(self, key: bytes, order: Sequence[Any], release: str) -> None:
        """Begin to carry out an order.

        Args:
            key: of what is sealed.
            order: references to the pieces of the sealed order.
            release: of the program that made it.
        """
        import ray

        self._key = key
        if release != __version__:
            text = f"{platform.node()} has federated-factory {__version__}, and not {release}"
            hint = "install the same version on every node of the Ray cluster"
            self._messages.put(Failed(ResourceError(text, hint=hint)))
            return
        data = unseal(ray.get(list(order)), key)
        threading.Thread(
            target=carry_out, args=(data, self._messages.put, self._stop), daemon=True
        ).start()

    def messages(self) -> tuple[list[list[bytes]], bool]:
        """Return what has gathered, each sealed, and whether that was the last.

        Every call costs Ray some milliseconds, so signs of progress wait for each other.
        """
        gathered: list[Message] = []
        deadline = time.monotonic() + _WAIT_SECONDS
        with contextlib.suppress(Empty):
            while not gathered or isinstance(gathered[-1], Progressed | Noted):
                message = self._messages.get(timeout=max(0.0, deadline - time.monotonic()))
                if gathered and isinstance(gathered[-1], Progressed):
                    gathered.pop()  # a newer one, or the end, says more
                gathered.append(message)
        sealed = [seal(pickle.dumps(message, protocol=5), self._key) for message in gathered]
        return sealed, bool(gathered) and isinstance(gathered[-1], LAST)

    def stop(self) -> None:
        """Have the job at work stop at its next sign of progress."""
        self._stop.set()
