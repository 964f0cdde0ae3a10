"""The order in which statements became visible: what lets a site ask for what is new alone.

    feed/<number>.txt                          the key of one publication or revocation
    feed/pages/<number>.txt                    256 of these, one a line, for whoever comes late

Numbers have ten digits, begin at 1 and are taken by put-if-absent, so every replica sees one list
and it only ever grows. A position is a number and the hash of all keys up to there: a position that
another store gave out, or this one before it was rolled back, is not mistaken for one of this list.

A statement is put into the store first and listed then. What a crash leaves between the two is
listed by `reconcile`, which servers do when they start and now and then; a store from before there
was a feed gets one in the same way. Nothing rests on the list being honest or whole: sites notice
what is kept back by the heads, as always.
"""

import hashlib
import threading
from collections.abc import Iterable

from coordinator.store import PUBLICATIONS, REVOCATIONS, Store

FEED = "feed/"
PAGE = 256
_START = bytes(32)
_NUMBER_BYTES = 8


def entry_key(number: int) -> str:
    """Key of one entry."""
    return f"{FEED}{number:010d}.txt"


def page_key(number: int) -> str:
    """Key of a page; page 0 holds entries 1 to 256."""
    return f"{FEED}pages/{number:010d}.txt"


class Feed:
    """The list as one process has read it; safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._keys: list[str] = []
        self._hashes: list[bytes] = [_START]
        self._listed: set[str] = set()

    def append(self, key: str) -> None:
        """List a statement that is in the store, unless it is listed.

        Raises:
            StoreError: the store refuses; call again.
        """
        with self._lock:
            if key in self._listed:
                return
            self._catch_up()
            while key not in self._listed:
                # Whoever is there first has the number; the other one sees it and goes on.
                self._store.put_if_absent(entry_key(len(self._keys) + 1), key.encode())
                self._catch_up()

    def reconcile(self) -> int:
        """List every statement in the store that is not listed; return how many there were."""
        with self._lock:
            self._catch_up()
            listed = frozenset(self._listed)
        missing = [
            key
            for prefix in (REVOCATIONS, PUBLICATIONS)
            for key in self._store.list(prefix)
            if key not in listed
        ]
        for key in missing:
            self.append(key)
        return len(missing)

    def position(self) -> bytes:
        """Return the position after the last entry (40 bytes)."""
        with self._lock:
            self._catch_up()
            return _position(len(self._keys), self._hashes[-1])

    def since(self, position: bytes) -> list[str] | None:
        """Return the keys listed after a position, revocations first and each issuer's in order.

        None if this list never had that position.
        """
        with self._lock:
            self._catch_up()
            number = int.from_bytes(position[:_NUMBER_BYTES], "big")
            if number >= len(self._hashes):
                return None
            if position != _position(number, self._hashes[number]):
                return None
            return sorted(self._keys[number:], key=lambda key: (key.startswith(PUBLICATIONS), key))

    def _catch_up(self) -> None:
        while True:
            count = len(self._keys)
            if count % PAGE == 0:
                page = (self._store.get(page_key(count // PAGE)) or b"").decode().splitlines()
                if len(page) == PAGE:
                    self._read(page)
                    continue
            entry = self._store.get(entry_key(count + 1))
            if entry is None:
                return
            self._read([entry.decode()])
            if len(self._keys) % PAGE == 0:
                page_text = "\n".join(self._keys[-PAGE:]).encode()
                self._store.put_if_absent(page_key(len(self._keys) // PAGE - 1), page_text)

    def _read(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._keys.append(key)
            self._listed.add(key)
            self._hashes.append(hashlib.sha256(self._hashes[-1] + key.encode()).digest())


def _position(number: int, digest: bytes) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big") + digest
