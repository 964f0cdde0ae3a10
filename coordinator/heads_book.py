"""The sites' heads statements in the store: each site's newest is handed to everyone.

    heads/<site>/<sequence>.dsse               signed heads, sequence in eight digits

Sites judge heads themselves (client_agent/registry/freshness.py); here only accidents are kept out.
"""

from collections.abc import Iterable, Iterator

from coordinator.errors import RefusedStatementError
from coordinator.store import Store
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import utc_now
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.heads import read_heads
from ff_protocol.names import check_site_id

HEADS_PREFIX = "heads/"


class HeadsBook:
    """Heads statements of one federation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, payload: VerifiedPayload, envelope: bytes) -> bool:
        """Make a heads statement visible; True if it was already.

        Raises:
            RefusedStatementError: the site has signed a later one, or another under this number.
            MalformedError, UntrustedError: it breaks the form.
        """
        heads = read_heads(payload, at=utc_now())
        prefix = f"{HEADS_PREFIX}{check_site_id(heads.site_id)}/"
        key = f"{prefix}{heads.sequence:08d}.dsse"
        held = sorted(self._store.list(prefix))
        latest = held[-1] if held else ""
        if key >= latest and self._store.put_if_absent(key, envelope):
            # Only the newest is handed out: kept for ever, the rest would be most of the store.
            for old in held[:-1]:
                self._store.delete(old)
            return False
        if self._store.get(key) == envelope:
            return True
        raise RefusedStatementError(
            f"{heads.site_id} has signed heads {latest[len(prefix) : -5].lstrip('0')} before",
            hint="the home may have been restored from a backup; receive brings it up to date",
        )

    def unknown_to(self, known: set[str], sites: Iterable[str] | None = None) -> Iterator[bytes]:
        """Yield each site's newest heads statement unless its hash is in `known`.

        Args:
            known: SHA-256 of envelopes, hexadecimal.
            sites: of these alone; None: of all.

        Raises:
            MalformedError: one of `sites` cannot be a site's name.
        """
        prefixes = (
            (HEADS_PREFIX,)
            if sites is None
            else [f"{HEADS_PREFIX}{check_site_id(site)}/" for site in dict.fromkeys(sites)]
        )
        newest = {
            key.rpartition("/")[0]: key for prefix in prefixes for key in self._store.list(prefix)
        }
        for key in newest.values():
            envelope = self._store.get(key)
            if envelope is not None and sha256_hex(envelope) not in known:
                yield envelope
