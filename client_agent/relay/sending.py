"""Sending a module's chunks: only those that are missing, one in memory at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from client_agent.errors import DataError
from client_agent.relay.retrying import Attempts
from client_agent.relay.watchdog import watched
from ff_protocol.canonical import sha256_hex
from ff_protocol.limits import CHUNK_BYTES, MAX_CHUNKS_PER_REQUEST
from ff_protocol.manifest import FileEntry, expected_chunk_size
from ff_protocol.wire import relay_pb2


class ChunkSender:
    """The chunks of one module, and which of them the coordinator has acknowledged.

    Attributes:
        chunks_sent: acknowledged to this sender.
        chunks_total: distinct chunks of the module.
    """

    def __init__(
        self,
        folder: Path,
        entries: dict[str, FileEntry],
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._places: dict[bytes, tuple[Path, int, int]] = {}
        for name in sorted(entries):
            entry = entries[name]
            for index, digest in enumerate(entry.chunks):
                place = (folder / name, index * CHUNK_BYTES, expected_chunk_size(entry, index))
                self._places.setdefault(bytes.fromhex(digest), place)
        self._held: set[bytes] = set()
        self._total = sum(entry.size for entry in entries.values())
        self._on_progress = on_progress
        self._fault: Exception | None = None
        self.chunks_sent = 0
        self.chunks_total = len(self._places)

    def send(
        self,
        relay: Any,
        stall_seconds: float,
        attempts: Attempts,
        count: Callable[[int], None],
    ) -> None:
        """Ask what is missing and send that; call again after a fault to go on.

        Args:
            relay: stub of the Relay service.
            stall_seconds: longest wait for an acknowledgement.
            attempts: told of every acknowledgement.
            count: told of the bytes of every acknowledged chunk.

        Raises:
            grpc.RpcError, StalledError: the connection.
            DataError: a file changed or cannot be read.
        """
        missing = self._missing(relay, stall_seconds)
        self._held = set(self._places).difference(missing)
        self._report()
        if not missing:
            return
        call = relay.PutChunks(self._chunks(missing))
        waiting = set(missing)
        try:
            for acknowledgement in watched(call, stall_seconds):
                digest = acknowledgement.sha256
                if digest not in waiting:
                    continue
                waiting.remove(digest)
                self._held.add(digest)
                self.chunks_sent += 1
                count(self._places[digest][2])
                attempts.progressed()
                self._report()
        finally:
            call.cancel()
            if self._fault is not None:
                raise self._fault

    def _missing(self, relay: Any, seconds: float) -> list[bytes]:
        digests = list(self._places)
        missing: list[bytes] = []
        for start in range(0, len(digests), MAX_CHUNKS_PER_REQUEST):
            batch = digests[start : start + MAX_CHUNKS_PER_REQUEST]
            request = relay_pb2.FindMissingChunksRequest(sha256=batch)
            answer = set(relay.FindMissingChunks(request, timeout=seconds).sha256)
            missing += [digest for digest in batch if digest in answer]
        return missing

    def _chunks(self, digests: list[bytes]) -> Iterator[relay_pb2.Chunk]:
        """Yield chunks as the connection takes them. Runs in a thread of gRPC's."""
        for digest in digests:
            path, offset, size = self._places[digest]
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    data = stream.read(size)
            except OSError as error:
                self._fault = DataError(f"cannot read {path}: {error.strerror}")
                return
            if sha256_hex(data) != digest.hex():
                self._fault = DataError(
                    f"{path} changed while it was being sent", hint="run the same command again"
                )
                return
            yield relay_pb2.Chunk(sha256=digest, data=data)

    def _report(self) -> None:
        if self._on_progress is not None:
            done = sum(self._places[digest][2] for digest in self._held)
            # Chunks that occur twice are sent once: scale so that the end is the total.
            whole = sum(size for _, _, size in self._places.values())
            self._on_progress(self._total * done // whole if whole else 0, self._total)
