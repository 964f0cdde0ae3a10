"""The mark of a garbage collection in the store: which chunks are being deleted right now.

There is at most one, made by put-if-absent, so it is the lock between collections as well. It lives
for seconds. Whoever relies on a chunk first makes its own move visible (an intent, a new time) and
then looks at the mark; a collection first makes the mark visible and then looks for such moves. One
of the two always sees the other (decision 6).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.errors import BusyError
from coordinator.store import COLLECTION_KEY, Store


@dataclass(frozen=True)
class CollectionMark:
    """Who collects, and the digests of the chunks that it may delete."""

    collector: str
    chunks: frozenset[str]

    def to_bytes(self) -> bytes:
        """Law: `CollectionMark.from_bytes(mark.to_bytes()) == mark`."""
        return "\n".join((self.collector, *sorted(self.chunks))).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "CollectionMark":
        """Read a mark: the collector's name and the digests, one a line."""
        collector, *chunks = data.decode().split("\n")
        return cls(collector, frozenset(chunks))


def read_mark(store: Store) -> CollectionMark | None:
    """Return the mark of the collection that runs, None if none does."""
    data = store.get(COLLECTION_KEY)
    return None if data is None else CollectionMark.from_bytes(data)


def check_not_condemned(store: Store, digests: Iterable[str]) -> None:
    """Make sure that no collection is deleting any of these chunks.

    Raises:
        BusyError: one is; in a moment it is gone and can be put again.
    """
    listed = set(digests)
    mark = read_mark(store) if listed else None
    if mark is not None and not mark.chunks.isdisjoint(listed):
        raise BusyError(
            "garbage collection is deleting old chunks of this module",
            hint="nothing is lost: try again in a moment",
        )
