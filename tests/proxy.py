"""A TCP proxy that shares connections out among servers, and does to bytes what networks do."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Address = tuple[str, int]


@dataclass(frozen=True)
class Fault:
    """What happens once, when `after` bytes have passed in one direction, over all connections.

    cut: the connection breaks. corrupt: one byte is changed. delay: nothing passes for a while.
    kill: `Proxy.on_kill` is called, then the connection breaks.
    """

    kind: Literal["cut", "corrupt", "delay", "kill"]
    direction: Literal["up", "down"]
    after: int
    seconds: float = 0.05


@dataclass
class Proxy:
    """A running proxy; the next connection goes to the next of `targets` that answers."""

    targets: Callable[[], list[Address]]
    faults: list[Fault] = field(default_factory=list)
    on_kill: Callable[[], None] = lambda: None
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    _turn: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = self._dial()
        if server is None:
            client.close()
            return
        pairs = ((client, server, "up"), (server, client, "down"))
        for pair in pairs:
            threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _dial(self) -> socket.socket | None:
        targets = self.targets()
        first = next(self._turn)
        for number in range(len(targets)):
            target = targets[(first + number) % len(targets)]
            with contextlib.suppress(OSError):
                return socket.create_connection(target, timeout=5)
        return None

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        try:
            source.settimeout(None)
            while data := source.recv(65536):
                sink.sendall(self._suffer(data, direction))
        except (OSError, ConnectionAbortedError):
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _suffer(self, data: bytes, direction: str) -> bytes:
        with self._lock:
            start = self.passed[direction]
            self.passed[direction] += len(data)
            due = [
                fault
                for fault in self.faults
                if fault.direction == direction and fault.after < start + len(data)
            ]
            for fault in due:
                self.faults.remove(fault)
        for fault in due:
            if fault.kind == "kill":
                self.on_kill()
            if fault.kind in ("cut", "kill"):
                raise ConnectionAbortedError
            if fault.kind == "delay":
                time.sleep(fault.seconds)
            if fault.kind == "corrupt":
                place = max(fault.after - start, 0)
                data = data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]
        return data


@contextlib.contextmanager
def run_proxy(targets: Callable[[], list[Address]], *faults: Fault) -> Iterator[Proxy]:
    """Run a proxy to servers on loopback."""
    proxy = Proxy(targets, list(faults))
    try:
        yield proxy
    finally:
        proxy.close()
