"""Garbage collection: deleting chunks that no module needs, without racing a publication.

Two kinds go: chunks of which every publication is revoked, an hour after they were last written,
and chunks that were never published, after a grace period in which an interrupted transfer can go
on. The order of steps is what makes it safe (decision 6): name a batch in the mark, which everyone
sees; then look again for publications, intents and newer times; then delete what is still unneeded;
then take the mark away.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from coordinator.collection_mark import CollectionMark, read_mark
from coordinator.errors import BusyError, RefusedStatementError, UsageError
from coordinator.publishing import intended_chunks
from coordinator.quotas import forget_past_days
from coordinator.statement_book import StatementBook
from coordinator.store import (
    CHUNKS,
    COLLECTION_KEY,
    INTENTS,
    PUBLICATIONS,
    Held,
    Store,
    chunk_key,
)
from ff_protocol.trust import TrustRoot

HOUR = 3600.0
REVOKED_SECONDS = 1 * HOUR
UNPUBLISHED_SECONDS = 7 * 24 * HOUR
SHORTEST_GRACE = 24 * HOUR
"""At least twice what ChunkStore promises to a site that finds a chunk."""
ABANDONED_SECONDS = 1 * HOUR
"""A mark as old as this is of a collection that was killed."""
DELETING_SECONDS = 600.0
"""A collection that was held up for longer deletes no more: its mark may be taken away."""
BATCH = 256


@dataclass
class Collected:
    """What a collection did, or would do.

    Attributes:
        live, revoked, unpublished: chunks that stay; that go or would, by reason.
        freed: their bytes.
        spared: chunks that were asked for in the last moment and therefore stay.
        intents: intents of killed coordinators that were removed.
    """

    live: int = 0
    revoked: int = 0
    unpublished: int = 0
    freed: int = 0
    spared: int = 0
    intents: int = 0


@dataclass
class _Roots:
    """Which chunks publications need, read anew as often as asked; publications never change."""

    book: StatementBook
    store: Store
    live: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Take in the publications that are new since the last time.

        Raises:
            MalformedError, UntrustedError: one does not hold: then nothing may be deleted.
        """
        for key in self.store.list(PUBLICATIONS):
            publication = None if key in self.seen else self.book.publication(key)
            if publication is None:
                continue
            chunks = {digest for entry in publication.files.values() for digest in entry.chunks}
            try:
                self.book.check_not_revoked(publication)
                self.live |= chunks
            except RefusedStatementError:
                self.revoked |= chunks
            self.seen.add(key)


class Collection:
    """One run of garbage collection over a store."""

    def __init__(
        self,
        store: Store,
        trust: TrustRoot,
        *,
        grace: float = UNPUBLISHED_SECONDS,
        revoked_grace: float = REVOKED_SECONDS,
    ) -> None:
        """Prepare.

        Args:
            store: of the federation.
            trust: to verify publications and revocations with.
            grace: seconds that an unpublished chunk stays.
            revoked_grace: seconds that a chunk of revoked modules stays.

        Raises:
            UsageError: a grace shorter than what sites were promised.
        """
        if grace < SHORTEST_GRACE:
            raise UsageError(
                f"a grace of {grace:.0f} s is too short",
                hint="interrupted transfers need time to go on: at least a day (1d)",
            )
        self._store = store
        self._roots = _Roots(StatementBook(store, trust), store)
        self._grace, self._revoked_grace = grace, revoked_grace
        self._result = Collected()

    def preview(self) -> Collected:
        """Say what would be deleted now; delete nothing."""
        for digest, held in self._candidates(time.time()):
            self._count(digest, held)
        return self._result

    def run(self) -> Collected:
        """Delete what is unneeded.

        Raises:
            BusyError: another collection runs.
            MalformedError, UntrustedError: a publication does not hold; nothing was deleted.
            StoreError: the store refuses; run again later.
        """
        batch: list[str] = []
        for digest, _ in self._candidates(time.time()):
            batch.append(digest)
            if len(batch) == BATCH:
                self.delete_unneeded(batch)
                batch = []
        if batch:
            self.delete_unneeded(batch)
        self._remove_intents(time.time())
        forget_past_days(self._store, time.time())
        return self._result

    def _candidates(self, now: float) -> Iterator[tuple[str, Held]]:
        self._roots.read()
        for key, held in self._store.scan(CHUNKS):
            digest = key.rpartition("/")[2]
            if digest in self._roots.live:
                self._result.live += 1
            elif self._expired(digest, held, now):
                yield digest, held

    def _expired(self, digest: str, held: Held, now: float) -> bool:
        grace = self._revoked_grace if digest in self._roots.revoked else self._grace
        return now - held.modified > grace

    def delete_unneeded(self, batch: list[str]) -> None:
        """Delete those of a batch of chunks that nobody needs, whatever is in the batch.

        Raises:
            BusyError: another collection runs, or this one was held up.
        """
        # Whatever ends this early leaves the mark: a deletion may still be on its way to the store.
        wall, monotonic = time.time(), time.monotonic()
        now = self._put_mark(CollectionMark(secrets.token_hex(8), frozenset(batch)))
        # Only now, and in this order: an intent goes when its publication is there.
        protected = set(intended_chunks(self._store))
        self._roots.read()
        for digest in batch:
            held = self._store.held(chunk_key(digest))
            if held is None:
                continue
            needed = digest in protected or digest in self._roots.live
            if needed or not self._expired(digest, held, now):
                self._result.spared += 1
                continue
            if max(time.time() - wall, time.monotonic() - monotonic) > DELETING_SECONDS:
                raise BusyError("the collection was held up", hint="run it again in an hour")
            self._store.delete(chunk_key(digest))
            self._count(digest, held)
        self._store.delete(COLLECTION_KEY)

    def _put_mark(self, mark: CollectionMark) -> float:
        """Make the mark; return the store's own time.

        Raises:
            BusyError: another collection's mark is there.
        """
        for _ in range(2):
            created = self._store.put_if_absent(COLLECTION_KEY, mark.to_bytes())
            held = self._store.held(COLLECTION_KEY)
            # A lost answer makes a distant store say no to what it has done.
            if held is not None and (created or read_mark(self._store) == mark):
                return held.modified
            if held is not None and time.time() - held.modified > ABANDONED_SECONDS:
                self._store.delete(COLLECTION_KEY)
        raise BusyError(
            "another garbage collection is running",
            hint="if it was killed: an hour later its mark no longer counts",
        )

    def _remove_intents(self, now: float) -> None:
        for key, held in list(self._store.scan(INTENTS)):
            if now - held.modified > SHORTEST_GRACE:
                self._store.delete(key)
                self._result.intents += 1

    def _count(self, digest: str, held: Held) -> None:
        if digest in self._roots.revoked:
            self._result.revoked += 1
        else:
            self._result.unpublished += 1
        self._result.freed += held.size
