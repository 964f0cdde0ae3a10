"""Chunks in the store: checked on the way in, bounded in number per question."""

import hashlib
from collections.abc import Iterable, Iterator

from coordinator.errors import MissingChunkError
from coordinator.store import Store, chunk_key
from ff_protocol.errors import MalformedError
from ff_protocol.limits import CHUNK_BYTES, MAX_CHUNKS_PER_REQUEST


class ChunkStore:
    """Content-addressed pieces of at most 1 MiB."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, digest: bytes, data: bytes) -> None:
        """Store a chunk durably; storing it twice is a no-op.

        Raises:
            MalformedError: empty, too large, or its hash is another.
            StoreError: the store refuses.
        """
        if not 0 < len(data) <= CHUNK_BYTES:
            raise MalformedError(f"chunk of {len(data)} bytes, 1 to {CHUNK_BYTES} are accepted")
        if hashlib.sha256(data).digest() != digest:
            raise MalformedError("the chunk's bytes do not have the SHA-256 that it is sent under")
        self._store.put_if_absent(chunk_key(digest.hex()), data)

    def get(self, digest: bytes) -> bytes:
        """Return a chunk's bytes.

        Raises:
            MissingChunkError: the store does not have it.
        """
        data = self._store.get(chunk_key(digest.hex()))
        if data is None:
            raise MissingChunkError(f"chunk {digest.hex()[:12]} is not here")
        return data

    def missing(self, digests: Iterable[bytes]) -> Iterator[bytes]:
        """Yield those that the store lacks."""
        for digest in digests:
            if self._store.size(chunk_key(digest.hex())) is None:
                yield digest


def check_digests(digests: Iterable[bytes]) -> list[bytes]:
    """Check a list of digests from a peer.

    Raises:
        MalformedError: too many, or one is not 32 bytes long.
    """
    listed = list(digests)
    if len(listed) > MAX_CHUNKS_PER_REQUEST:
        raise MalformedError(f"{len(listed)} chunks at once, {MAX_CHUNKS_PER_REQUEST} are accepted")
    if any(len(digest) != 32 for digest in listed):
        raise MalformedError("a SHA-256 has 32 bytes")
    return listed
