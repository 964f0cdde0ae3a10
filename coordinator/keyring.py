"""What a running server issues with and trusts: loaded once, loaded anew while it runs.

The root may change while servers run (ff_protocol.roots). Each of them follows the statements in
the store by itself, so that nothing has to be copied from one machine to another.
"""

import datetime as dt
import threading

from coordinator.home import CoordinatorHome
from coordinator.root_changes import follow_store
from coordinator.store import Store
from ff_protocol.certificates import Credential


class Keyring:
    """The issuing CA and the roots of one home. `trust` is one object that changes in place."""

    def __init__(self, home: CoordinatorHome, store: Store, now: dt.datetime) -> None:
        """Load, and follow what the store has.

        Raises:
            NotReadyError, PassphraseError: a key is missing or cannot be opened.
        """
        self._home = home
        self._store = store
        self._lock = threading.Lock()
        follow_store(home, store, now)
        self.trust = home.trust()
        self._issuing = home.credential("issuing")

    @property
    def issuing(self) -> Credential:
        """The issuing CA, with its certificate under each root."""
        with self._lock:
            return self._issuing

    def follow(self, now: dt.datetime) -> bool:
        """Follow a change of root; True if there was one.

        Raises:
            StoreError, UntrustedError: the store cannot be read, or holds a change that is none.
        """
        follow_store(self._home, self._store, now)
        trust, issuing = self._home.trust(), self._home.credential("issuing")
        with self._lock:
            if trust.pem == self.trust.pem:
                return False
            self.trust.become(trust)
            self._issuing = issuing
        return True
