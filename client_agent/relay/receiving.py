"""Receiving a module's files: each chunk verified, resumable, never outside the folder."""

import contextlib
import hashlib
from collections.abc import Callable, Generator
from pathlib import Path

from client_agent.errors import RefusedError
from client_agent.relay.faults import DamagedTransferError
from client_agent.relay.part_file import PartFile
from ff_protocol.files import storage_error, sync_folder
from ff_protocol.manifest import ALL_FILES, FileEntry, expected_chunk_size
from ff_protocol.statements import Publication

Data = bytes | memoryview
ReadChunks = Callable[[FileEntry, int], Generator[Data, None, None]]


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

    def fetch(self, read_chunks: ReadChunks) -> None:
        """Fetch what is not here yet; call again after a fault to go on.

        Every chunk is checked against the publication's list. That the list agrees with the hash
        of the whole file is left to admission, which hashes the files anyway.

        Args:
            read_chunks: yields the chunks of a file from a given one on, from an untrusted source;
                what it raises passes through.

        Raises:
            DamagedTransferError: a chunk is not what was asked for.
            StorageError: the disk refuses.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for entry in self._entries:
                if not self._complete(entry):
                    self._fetch_file(entry, read_chunks)
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

    def _fetch_file(self, entry: FileEntry, read_chunks: ReadChunks) -> None:
        path = self._folder / f"{entry.name}.part"
        with PartFile(path) as part:
            index, done = _keep_verified(part, entry)
            self._report(entry, done)
            if index < len(entry.chunks):
                with contextlib.closing(read_chunks(entry, index)) as chunks:
                    for data in chunks:
                        _check_chunk(data, entry, index)
                        part.write(done, data)
                        index, done = index + 1, done + len(data)
                        self._report(entry, done)
                        if index == len(entry.chunks):
                            break
            if index < len(entry.chunks):
                raise DamagedTransferError(f"the source sent too little of {entry.name}")
            part.sync()
        path.replace(self._folder / entry.name)
        sync_folder(self._folder)

    def _report(self, entry: FileEntry, done: int) -> None:
        self._done[entry.name] = done
        if self._on_progress is not None:
            self._on_progress(sum(self._done.values()), self._total)


def _keep_verified(part: PartFile, entry: FileEntry) -> tuple[int, int]:
    """Keep the whole verified chunks at the beginning of `part`, cut off the rest.

    Returns:
        The number of chunks kept, and of their bytes.
    """
    kept = position = 0
    for index, digest in enumerate(entry.chunks):
        data = part.read(position, expected_chunk_size(entry, index))
        if hashlib.sha256(data).hexdigest() != digest:
            break
        kept, position = index + 1, position + len(data)
    part.truncate(position)
    return kept, position


def _check_chunk(data: Data, entry: FileEntry, index: int) -> None:
    right_size = len(data) == expected_chunk_size(entry, index)
    if not right_size or hashlib.sha256(data).hexdigest() != entry.chunks[index]:
        raise DamagedTransferError(
            f"the source sent other bytes than chunk {index} of {entry.name}",
            hint="tell its operator: the store or the disk may be damaged",
        )
