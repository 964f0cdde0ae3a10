"""Receiving a module's files: each chunk verified, resumable, never outside the folder."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from client_agent.errors import RefusedError
from client_agent.relay.retrying import Attempts
from client_agent.relay.translation import DamagedTransferError
from client_agent.relay.watchdog import watched
from ff_protocol.files import storage_error, sync_folder
from ff_protocol.limits import MAX_CHUNKS_PER_REQUEST
from ff_protocol.manifest import ALL_FILES, FileEntry, expected_chunk_size
from ff_protocol.statements import Publication
from ff_protocol.wire import relay_pb2


class FileReceiver:
    """The files of one publication on their way into a folder."""

    def __init__(
        self,
        publication: Publication,
        folder: Path,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        """Prepare; nothing is touched yet.

        Raises:
            RefusedError: a file name that does not belong in a module.
        """
        for name, entry in publication.files.items():
            if name not in ALL_FILES or entry.name != name:
                raise RefusedError(f"file {name[:80]!r} does not belong in a module")
        self._entries = [publication.files[name] for name in sorted(publication.files)]
        self._folder = folder
        self._on_progress = on_progress
        self._total = sum(entry.size for entry in self._entries)
        self._done: dict[str, int] = {}

    def fetch(
        self,
        relay: Any,
        stall_seconds: float,
        attempts: Attempts,
        count: Callable[[int], None],
    ) -> None:
        """Fetch what is not here yet; call again after a fault to go on.

        Args:
            relay: stub of the Relay service.
            stall_seconds: longest wait for a chunk.
            attempts: told of every verified chunk.
            count: told of the bytes of every chunk.

        Raises:
            grpc.RpcError, StalledError: the connection.
            DamagedTransferError: a chunk is not what was asked for.
            RefusedError: the file's hash contradicts its chunks'.
            StorageError: the disk refuses.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for entry in self._entries:
                if not self._complete(entry):
                    self._fetch_file(entry, relay, stall_seconds, attempts, count)
        except OSError as error:
            raise storage_error(error, self._folder) from error

    def _complete(self, entry: FileEntry) -> bool:
        path = self._folder / entry.name
        if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.size:
            return False
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != entry.sha256:
                return False
        self._report(entry, entry.size)
        return True

    def _fetch_file(
        self,
        entry: FileEntry,
        relay: Any,
        stall_seconds: float,
        attempts: Attempts,
        count: Callable[[int], None],
    ) -> None:
        part = self._folder / f"{entry.name}.part"
        with _open_part(part) as stream:
            whole, index = _verified(stream, entry)
            self._report(entry, stream.tell())
            while index < len(entry.chunks):
                batch = entry.chunks[index : index + MAX_CHUNKS_PER_REQUEST]
                request = relay_pb2.GetChunksRequest(sha256=map(bytes.fromhex, batch))
                call = relay.GetChunks(request)
                end = index + len(batch)
                try:
                    for message in watched(call, stall_seconds):
                        if index == end:
                            break
                        _check_chunk(message.data, entry, index)
                        stream.write(message.data)
                        whole.update(message.data)
                        index += 1
                        count(len(message.data))
                        attempts.progressed()
                        self._report(entry, stream.tell())
                finally:
                    call.cancel()
                if index < end:
                    raise DamagedTransferError(f"the coordinator sent too little of {entry.name}")
            stream.flush()
            os.fsync(stream.fileno())
        if whole.hexdigest() != entry.sha256:
            part.unlink()
            raise RefusedError(f"{entry.name}: its SHA-256 is not the one in the publication")
        part.replace(self._folder / entry.name)
        sync_folder(self._folder)

    def _report(self, entry: FileEntry, done: int) -> None:
        self._done[entry.name] = done
        if self._on_progress is not None:
            self._on_progress(sum(self._done.values()), self._total)


def _open_part(path: Path) -> BinaryIO:
    # A link planted in the folder must not lead the writing elsewhere.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o644), "r+b")


def _verified(stream: BinaryIO, entry: FileEntry) -> tuple[Any, int]:
    """Keep the whole verified chunks at the beginning of `stream`, cut off the rest.

    Returns:
        The running SHA-256 of what is kept, and the number of chunks kept.
    """
    whole = hashlib.sha256()
    kept = position = 0
    for index, digest in enumerate(entry.chunks):
        data = stream.read(expected_chunk_size(entry, index))
        if hashlib.sha256(data).hexdigest() != digest:
            break
        whole.update(data)
        kept, position = index + 1, position + len(data)
    stream.seek(position)
    stream.truncate()
    return whole, kept


def _check_chunk(data: bytes, entry: FileEntry, index: int) -> None:
    right_size = len(data) == expected_chunk_size(entry, index)
    if not right_size or hashlib.sha256(data).hexdigest() != entry.chunks[index]:
        raise DamagedTransferError(
            f"the coordinator sent other bytes than chunk {index} of {entry.name}",
            hint="tell its operator: its store may be damaged",
        )
