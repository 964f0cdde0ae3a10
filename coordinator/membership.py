"""Who is expelled: refused on every replica within a second, whatever its certificate says.

The list is in the store, so there is nothing to reload and nothing to copy. An expulsion is by
name: new certificates for the same name do not help.
"""

import datetime as dt
import threading
import time
from dataclasses import dataclass

from coordinator.errors import ExpelledError
from coordinator.store import EXPULSIONS, Store, expulsion_key
from ff_protocol import canonical
from ff_protocol.clock import timestamp
from ff_protocol.limits import KIB

REMEMBERED_SECONDS = 1.0
"""How long an answer of the store is taken for the present: what a distant store costs a call."""
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class Expulsion:
    """One site's expulsion."""

    site: str
    reason: str
    expelled_at: str


def expel(store: Store, site: str, reason: str, now: dt.datetime) -> bool:
    """Refuse a site from now on; False if it was already.

    Raises:
        MalformedError: not a site name.
    """
    record = {
        "site": site,
        "reason": reason[:MAX_REASON_CHARACTERS],
        "expelled_at": timestamp(now),
    }
    return store.put_if_absent(expulsion_key(site), canonical.dumps(record))


def readmit(store: Store, site: str) -> bool:
    """Take an expulsion back; False if there was none."""
    was_expelled = store.held(expulsion_key(site)) is not None
    store.delete(expulsion_key(site))
    return was_expelled


def expulsions(store: Store) -> list[Expulsion]:
    """Return all, ordered by site."""
    found = []
    for key in store.list(EXPULSIONS):
        data = store.get(key)
        if data is not None:
            found.append(Expulsion(**canonical.loads(data, max_bytes=4 * KIB, what="expulsion")))
    return found


class Membership:
    """The expelled list as the services ask it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, bool]] = {}

    def check(self, site: str) -> None:
        """Make sure that a site is not expelled.

        Raises:
            ExpelledError: it is.
        """
        if self.is_expelled(site):
            raise ExpelledError(
                f"{site} has been expelled from the federation",
                hint="ask the consortium's operator why",
            )

    def is_expelled(self, site: str) -> bool:
        """Say so; the answer is at most a second old."""
        with self._lock:
            known = self._answers.get(site)
        if known is not None and time.monotonic() - known[0] < REMEMBERED_SECONDS:
            return known[1]
        asked = time.monotonic()
        answer = self._store.held(expulsion_key(site)) is not None
        with self._lock:
            self._answers[site] = (asked, answer)
        return answer

    def forget(self) -> None:
        """Ask the store anew."""
        with self._lock:
            self._answers.clear()
