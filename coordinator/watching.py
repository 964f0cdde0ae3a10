"""Telling sites that wait that something is new: a bell, not the news.

Each replica looks at the store by itself: what one of them publishes another one rings for a moment
later, and a site that reconnects to any of them misses nothing, since the first ring comes at once.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from coordinator.feed import Feed
from coordinator.member_list import MEMBERS_PREFIX
from coordinator.root_changes import ROOTS
from coordinator.spec_book import SPECS
from coordinator.store import PUBLICATIONS, REVOCATIONS, Store

MAX_WATCHERS = 64
"""Beyond these a call gets one ring and ends; its caller comes back after a while."""
WATCHERS = ThreadPoolExecutor(MAX_WATCHERS + 4, thread_name_prefix="watch")
"""The threads of Watch calls: a few more than watchers, to send the others away."""

LOOK_SECONDS = 2.0
BEAT_SECONDS = 20.0
"""A ring without a change, so that both sides and all between know that the line stands."""
LONGEST_SECONDS = 600.0
"""Then the caller's certificate is looked at anew."""


class Doorbell:
    """Rings for every watcher of one replica; the store is looked at once for all of them."""

    def __init__(
        self,
        store: Store,
        feed: Feed | None = None,
        *,
        look_seconds: float = LOOK_SECONDS,
        most: int = MAX_WATCHERS,
    ) -> None:
        """Prepare.

        Args:
            store: to look at.
            feed: of that store; with it a look costs the same whatever the store holds.
            look_seconds: pause between two looks.
            most: watchers at once.
        """
        self._store = store
        self._feed = feed
        self._look_seconds = look_seconds
        self._most = most
        self._changed = threading.Condition()
        self._looking = threading.Lock()
        self._rung = 0
        self._watchers = 0
        self._seen: tuple[float, int, bytes] | None = None

    def ring(self) -> None:
        """Something was published here: look at once."""
        with self._changed:
            self._rung += 1
            self._changed.notify_all()

    def watch(self, active: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the head (32 bytes) at once, at every change, and now and then without one.

        Args:
            active: whether the caller is still there.

        Raises:
            StoreError: the store cannot be listed.
        """
        with self._changed:
            self._watchers += 1
            stays = self._watchers <= self._most
        try:
            yield from self._rings(active, stays)
        finally:
            with self._changed:
                self._watchers -= 1

    def _rings(self, active: Callable[[], bool], stays: bool) -> Iterator[bytes]:
        last, told, end = b"", 0.0, time.monotonic() + LONGEST_SECONDS
        while active():
            with self._changed:
                rung = self._rung
            head, now = self._head(rung), time.monotonic()
            if head != last or now - told >= BEAT_SECONDS:
                last, told = head, now
                yield head
            if not stays or now >= end:
                return
            with self._changed:
                if self._rung == rung:
                    self._changed.wait(self._look_seconds)

    def _head(self, rung: int) -> bytes:
        """Return the hash of what stands for all statements, at most `look_seconds` old and not
        before ring number `rung`."""
        with self._looking:
            now = time.monotonic()
            if self._seen is not None:
                looked, at_ring, head = self._seen
                if at_ring >= rung and now - looked < self._look_seconds:
                    return head
            with self._changed:
                rung = self._rung
            digest = hashlib.sha256()
            prefixes = [ROOTS, SPECS, MEMBERS_PREFIX]
            if self._feed is None:
                prefixes += [REVOCATIONS, PUBLICATIONS]
            else:
                digest.update(self._feed.position())
            for prefix in prefixes:
                for key in self._store.list(prefix):
                    digest.update(key.encode() + b"\n")
            self._seen = (now, rung, digest.digest())
            return self._seen[2]
