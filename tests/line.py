"""A bad line: a TCP relay that is slow, late, lossy or cut, and counts every byte that passes.

Also an HTTP CONNECT proxy (`connect_proxy=True`): then the target is what the client asks for.
"""

import contextlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_PIECE = 16 * 1024


@dataclass
class Passage:
    """One connection over the line: bytes from the client (`up`) and to it (`down`)."""

    sockets: tuple[socket.socket, ...]
    up: int = 0
    down: int = 0
    target: str = ""

    def cut(self) -> None:
        """Reset both sides, as a lost line would."""
        for each in self.sockets:
            with contextlib.suppress(OSError):
                # Linger 0: a reset, not a polite end.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@dataclass
class Line:
    """Listens on loopback and relays to `target` until closed.

    Attributes:
        target: where to.
        rate: bytes per second and direction, None for no limit.
        delay: seconds, one way.
        loss: share of segments lost; each costs a retransmission timeout.
        cut_after: bytes upwards (positive) or downwards (negative) after which the next passage
            is cut, once.
        refuse_connect: HTTP status that the CONNECT proxy answers with.
        authorisation: what the CONNECT proxy demands in Proxy-Authorization.
        silent: accept, and never answer.
        frozen: while set, nothing passes in either direction.
    """

    target: tuple[str, int]
    rate: float | None = None
    delay: float = 0.0
    loss: float = 0.0
    cut_after: int | None = None
    connect_proxy: bool = False
    refuse_connect: int | None = None
    authorisation: str | None = None
    silent: bool = False
    on_cut: Callable[[], None] | None = None
    frozen: threading.Event = field(default_factory=threading.Event)
    passages: list[Passage] = field(default_factory=list)

    def __enter__(self) -> "Line":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._random = random.Random(7)
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        self.cut()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def up(self) -> int:
        return sum(passage.up for passage in self.passages)

    @property
    def down(self) -> int:
        return sum(passage.down for passage in self.passages)

    def cut(self) -> None:
        """Reset every connection that is open now."""
        for passage in self.passages:
            passage.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._open, args=(client,), daemon=True).start()

    def _open(self, client: socket.socket) -> None:
        if self.silent:
            self.passages.append(Passage((client,)))
            return
        target = self.target
        try:
            if self.connect_proxy:
                asked = self._asked(client)
                if asked is None:
                    client.close()
                    return
                target = asked
            server = socket.create_connection(target, timeout=5)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        if self.connect_proxy:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        passage = Passage((client, server), target=f"{target[0]}:{target[1]}")
        self.passages.append(passage)
        for source, sink, way in ((client, server, "up"), (server, client, "down")):
            waiting: queue.Queue[tuple[float, bytes]] = queue.Queue(maxsize=64)
            for work in (self._read, self._write):
                arguments = (passage, source, sink, way, waiting)
                threading.Thread(target=work, args=arguments, daemon=True).start()

    def _asked(self, client: socket.socket) -> tuple[str, int] | None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return None
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        verb, place, _ = lines[0].split(" ")
        pairs = (line.partition(":") for line in lines[1:])
        headers = {key.lower(): value.strip() for key, _, value in pairs}
        status = self.refuse_connect
        if self.authorisation and headers.get("proxy-authorization") != self.authorisation:
            status = 407
        if verb != "CONNECT" or status:
            client.sendall(
                f"HTTP/1.1 {status or 405} refused\r\ncontent-length: 0\r\n\r\n".encode()
            )
            return None
        host, _, port = place.rpartition(":")
        # A name known to the proxy alone: the client need not be able to resolve it.
        return (self.target[0] if host.endswith(".internal") else host.strip("[]")), int(port)

    def _read(self, passage, source, sink, way, waiting) -> None:  # type: ignore[no-untyped-def]
        free_at = time.monotonic()
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                now = time.monotonic()
                if self.rate:
                    free_at = max(free_at, now) + len(piece) / self.rate
                    time.sleep(max(0.0, free_at - time.monotonic()))
                late = self.delay
                if self.loss and self._random.random() < 1 - (1 - self.loss) ** (len(piece) / 1448):
                    late += max(0.2, 2 * self.delay)
                waiting.put((time.monotonic() + late, piece))
        waiting.put((0.0, b""))

    def _write(self, passage, source, sink, way, waiting) -> None:  # type: ignore[no-untyped-def]
        due = 0.0
        with contextlib.suppress(OSError):
            while True:
                moment, piece = waiting.get()
                if not piece:
                    break
                due = max(due, moment)  # a late segment holds up those behind it
                time.sleep(max(0.0, due - time.monotonic()))
                while self.frozen.is_set():
                    time.sleep(0.02)
                sink.sendall(piece)
                with self._lock:
                    setattr(passage, way, getattr(passage, way) + len(piece))
                    cut = self.cut_after is not None and (
                        passage.up >= self.cut_after > 0 or -passage.down <= self.cut_after < 0
                    )
                    if cut:
                        self.cut_after = None
                if cut:
                    passage.cut()
                    if self.on_cut:
                        self.on_cut()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        # Whoever still reads the source must notice that nothing leaves any more.
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RD)
        while piece:
            _, piece = waiting.get()
