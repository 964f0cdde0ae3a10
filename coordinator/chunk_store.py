"""Chunks in the store: checked on the way in, bounded in number per question.

What a site was told is here stays for half a day at least, published or not (unless only revoked
modules have it): a chunk that garbage collection might soon take has its time set to now before the
site is answered, and a collection looks at the time again after it has named what it will take
(collection.py).
"""

import hashlib
import time
from collections.abc import Callable, Iterable

from coordinator.collection_mark import check_not_condemned
from coordinator.errors import MissingChunkError
from coordinator.store import Store, chunk_key
from ff_protocol.errors import MalformedError
from ff_protocol.limits import CHUNK_BYTES, MAX_CHUNKS_PER_REQUEST

PUT_AGAIN_SECONDS = 30 * 60
"""An older chunk that is put again has its time set to now."""
FOUND_SECONDS = 12 * 3600
"""An older chunk that is found has its time set to now. Far longer than PUT_AGAIN_SECONDS, since
object stores refresh by writing anew."""


class ChunkStore:
    """Content-addressed pieces of at most 1 MiB."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def put(self, digest: bytes, data: bytes) -> None:
        """Store a chunk durably; storing it twice is a no-op.

        Raises:
            MalformedError: empty, too large, or its hash is another.
            BusyError: it is being deleted at this moment.
            StoreError: the store refuses.
        """
        if not 0 < len(data) <= CHUNK_BYTES:
            raise MalformedError(f"chunk of {len(data)} bytes, 1 to {CHUNK_BYTES} are accepted")
        if hashlib.sha256(data).digest() != digest:
            raise MalformedError("the chunk's bytes do not have the SHA-256 that it is sent under")
        key = chunk_key(digest.hex())
        while not self._store.put_if_absent(key, data):
            held = self._store.held(key)
            if held is not None and self._clock() - held.modified < PUT_AGAIN_SECONDS:
                return
            if self._secured(key, digest):
                return

    def get(self, digest: bytes) -> bytes:
        """Return a chunk's bytes.

        Raises:
            MissingChunkError: the store does not have it.
        """
        data = self._store.get(chunk_key(digest.hex()))
        if data is None:
            raise MissingChunkError(f"chunk {digest.hex()[:12]} is not here")
        return data

    def missing(self, digests: Iterable[bytes]) -> list[bytes]:
        """Return those that the store lacks; the others stay for half a day at least.

        Raises:
            BusyError: one of the others is being deleted at this moment.
        """
        keys = {digest: chunk_key(digest.hex()) for digest in digests}
        answers = self._store.held_many(keys.values())
        missing = []
        for digest, key in keys.items():
            held = answers[key]
            old = held is not None and self._clock() - held.modified > FOUND_SECONDS
            if held is None or (old and not self._secured(key, digest)):
                missing.append(digest)
        return missing

    def _secured(self, key: str, digest: bytes) -> bool:
        """Set the chunk's time to now and make sure that no collection is past looking at it.

        The last question is for a collection that has deleted it and taken its mark away between
        our two steps.
        """
        if not self._store.refresh(key):
            return False
        check_not_condemned(self._store, (digest.hex(),))
        return self._store.held(key) is not None


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
