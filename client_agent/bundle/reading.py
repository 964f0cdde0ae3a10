"""A bundle as a source of statements and modules, like the coordinator: hostile until checked."""

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from client_agent.bundle import layout
from client_agent.bundle.archive import Member, read_index
from client_agent.errors import RefusedError, UsageError
from client_agent.relay.faults import DamagedTransferError
from client_agent.relay.receiving import Data, FileReceiver
from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.manifest import ALL_FILES, CARD_FILE, FileEntry
from ff_protocol.statements import Publication


class BundleSource:
    """What a bundle offers.

    Attributes:
        label: the values of its `bundle.json`; not signed.
        bytes_received: bytes of statements and modules read so far.
        bytes_sent: always 0.
    """

    def __init__(self, stream: BinaryIO, size: int, federation_id: str, max_module_bytes: int):
        """Read the table of members and the label.

        Raises:
            MalformedError: the archive breaks a rule, named in the message.
            RefusedError: it is of another federation.
        """
        self.bytes_sent = 0
        self.bytes_received = 0
        self._stream = stream
        self._members = read_index(
            stream,
            size,
            lambda name: layout.size_limit(name, max_module_bytes),
            layout.MAX_MEMBERS,
        )
        statements = sum(
            member.size for name, member in self._members.items() if layout.statement_digest(name)
        )
        if statements > layout.MAX_STATEMENT_BYTES:
            raise MalformedError(
                f"{statements} bytes of statements are more than a bundle may have"
            )
        self.label = self._read_label(federation_id)

    def offers(self, module: str) -> bool:
        """Whether the three files of a module are in the bundle."""
        return all(layout.file_name(module, name) in self._members for name in ALL_FILES)

    @property
    def modules(self) -> frozenset[str]:
        """Digests of the modules that the bundle has files of."""
        return frozenset(filter(None, map(layout.module_digest, self._members)))

    def list_statements(self, known: set[str]) -> Iterator[bytes]:
        """Yield the envelopes whose SHA-256 is not in `known`, in the bundle's order.

        Raises:
            MalformedError: a statement is not the one that its name says.
        """
        for name, member in self._members.items():
            digest = layout.statement_digest(name)
            if digest is None or digest in known:
                continue
            envelope = self._read(member, 0, member.size)
            if canonical.sha256_hex(envelope) != digest:
                raise MalformedError(f"{name!r} is damaged: its SHA-256 is another")
            yield envelope

    def fetch_files(
        self,
        publication: Publication,
        folder: Path,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Copy a module's files into `folder`, each chunk checked, going on from what is there.

        Raises:
            DamagedTransferError: a file is not the one published.
            StorageError: the disk refuses.
        """

        def chunks(entry: FileEntry, index: int) -> Generator[Data, None, None]:
            member = self._members[layout.file_name(publication.module, entry.name)]
            if member.size != entry.size:
                raise DamagedTransferError(
                    f"{entry.name} has {member.size} bytes in the bundle, {entry.size} published"
                )
            for offset in range(index * CHUNK_BYTES, entry.size, CHUNK_BYTES):
                yield self._read(member, offset, min(CHUNK_BYTES, entry.size - offset))

        FileReceiver(publication, folder, on_progress).fetch(chunks)

    def fetch_cards(
        self, publications: list[Publication]
    ) -> Iterator[tuple[Publication, bytes | None]]:
        """Yield the bytes of each module's `card.json`, unchecked; None where it is not here."""
        for publication in publications:
            member = self._members.get(layout.file_name(publication.module, CARD_FILE))
            yield publication, None if member is None else self._read(member, 0, member.size)

    def _read_label(self, federation_id: str) -> dict[str, str]:
        member = self._members.get(layout.LABEL)
        if member is None:
            raise MalformedError(f"the bundle has no {layout.LABEL}")
        data = self._read(member, 0, member.size)
        value = canonical.loads(data, max_bytes=layout.MAX_LABEL_BYTES, what=layout.LABEL)
        keys = {"format", "federation", "site", "created_at"}
        if not isinstance(value, dict) or set(value) != keys or value["format"] != layout.FORMAT:
            raise MalformedError(f"{layout.LABEL} is not one of format {layout.FORMAT}")
        if value["federation"] != federation_id:
            raise RefusedError(
                f"the bundle is of federation {str(value['federation'])[:80]!r}, "
                f"this home belongs to {federation_id}"
            )
        return {key: str(item)[:100] for key, item in value.items()}

    def _read(self, member: Member, offset: int, size: int) -> bytes:
        self._stream.seek(member.offset + offset)
        data = self._stream.read(size)
        if len(data) != size:
            raise DamagedTransferError(f"the bundle ends within {member.name!r}")
        self.bytes_received += size
        return data


@contextmanager
def open_bundle(path: Path, federation_id: str, max_module_bytes: int) -> Iterator[BundleSource]:
    """Open a bundle file.

    Raises:
        UsageError: there is no such plain file.
        MalformedError, RefusedError: it breaks a rule, or is of another federation.
    """
    try:
        # Without blocking: opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot read bundle {path}: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UsageError(f"bundle {path} is not a plain file")
    with os.fdopen(descriptor, "rb") as stream:
        yield BundleSource(stream, status.st_size, federation_id, max_module_bytes)
