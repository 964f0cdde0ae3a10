"""Sending a module's chunks: only those that are missing, one in memory at a time."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from client_agent.errors import DataError
from client_agent.relay.calls import stream
from client_agent.relay.chunk_wire import PutChunks, frame_chunk
from client_agent.relay.retrying import Attempts
from ff_protocol.limits import CHUNK_BYTES, MAX_CHUNKS_PER_REQUEST
from ff_protocol.manifest import FileEntry, expected_chunk_size


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
        self._held_bytes = 0
        self._distinct_bytes = sum(size for _, _, size in self._places.values())
        self._total = sum(entry.size for entry in entries.values())
        self._on_progress = on_progress
        self._fault: Exception | None = None
        self.chunks_sent = 0
        self.chunks_total = len(self._places)

    def missing(self, find_missing: Callable[[list[bytes]], set[bytes]]) -> list[bytes]:
        """Ask which chunks the coordinator lacks; what it has is never sent again.

        Args:
            find_missing: answers for at most `MAX_CHUNKS_PER_REQUEST` digests.

        Raises:
            grpc.RpcError: the connection.
        """
        digests = list(self._places)
        missing: list[bytes] = []
        for start in range(0, len(digests), MAX_CHUNKS_PER_REQUEST):
            batch = digests[start : start + MAX_CHUNKS_PER_REQUEST]
            answer = find_missing(batch)
            missing += [digest for digest in batch if digest in answer]
        held = set(self._places).difference(missing)
        self._held_bytes = sum(self._places[digest][2] for digest in held)
        self._report()
        return missing

    def send(
        self,
        put_chunks: PutChunks,
        missing: list[bytes],
        stall_seconds: float,
        attempts: Attempts,
        count: Callable[[int], None],
    ) -> None:
        """Send chunks; after a fault ask again what is missing, and go on.

        Args:
            put_chunks: the call.
            missing: from `missing`.
            stall_seconds: longest wait for an acknowledgement.
            attempts: told of every acknowledgement.
            count: told of the bytes of every acknowledged chunk.

        Raises:
            grpc.RpcError, StalledError: the connection.
            DataError: a file changed or cannot be read.
        """
        if not missing:
            return
        waiting = set(missing)
        acknowledgements = stream(lambda: put_chunks(self._chunks(missing)), stall_seconds)
        try:
            for acknowledgement in acknowledgements:
                digest = acknowledgement.sha256
                if digest not in waiting:
                    continue
                waiting.remove(digest)
                size = self._places[digest][2]
                self.chunks_sent += 1
                self._held_bytes += size
                count(size)
                attempts.progressed()
                self._report()
        finally:
            acknowledgements.close()
            if self._fault is not None:
                raise self._fault

    def _chunks(self, digests: list[bytes]) -> Iterator[bytes]:
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
            if hashlib.sha256(data).digest() != digest:
                self._fault = DataError(
                    f"{path} changed while it was being sent", hint="run the same command again"
                )
                return
            yield frame_chunk(digest, data)

    def _report(self) -> None:
        if self._on_progress is not None:
            # Chunks that occur twice are sent once: scale so that the end is the total.
            whole = self._distinct_bytes
            done = self._total * self._held_bytes // whole if whole else 0
            self._on_progress(done, self._total)
