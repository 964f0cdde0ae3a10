"""Finding out what is wrong with a coordinator: one check for each thing that has to hold.

Checks run in the order in which one depends on another; each is a function that returns a line or
raises the fault that `serve` would meet, so that both say the same.
"""

import datetime as dt
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.authority import ensure_spec
from coordinator.errors import NotReadyError, StoreError
from coordinator.home import CoordinatorHome
from coordinator.member_list import newest_list
from coordinator.store import COLLECTION_KEY, Store, open_store
from ff_protocol.certificates import Purpose, renewal_due
from ff_protocol.errors import ExitCode, FederatedFactoryError, UntrustedError
from ff_protocol.names import Role

CLOCK_TOLERANCE_SECONDS = 60.0
"""Well below the certificates' backdating and the shortest time in garbage collection."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check: if it failed, the hint says what to do, the code who must act."""

    name: str
    detail: str
    hint: str | None = None
    exit_code: ExitCode = ExitCode.OK

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.exit_code == ExitCode.OK


def examine(home: CoordinatorHome, now: dt.datetime) -> list[Check]:
    """Check everything that can be checked without a server; change nothing that stays.

    Args:
        home: the operator's folder.
        now: present time.
    """
    checks = [_check("home", lambda: _home(home))]
    if not checks[0].ok:
        return checks
    checks += [
        _check("keys", lambda: _keys(home)),
        _check("server certificate", lambda: _server_certificate(home, now)),
        _check("issuing certificate", lambda: _issuing_certificate(home, now)),
    ]
    store: list[Store] = []
    checks.append(_check("store", lambda: _open(home, store)))
    if store:
        checks += [
            _check("store writes", lambda: _writes(store[0])),
            _check("store clock", lambda: _clock(store[0])),
            _check("federation in the store", lambda: _spec(home, store[0])),
            _check("member list", lambda: _members(home, store[0], now)),
            _check("garbage collection", lambda: _collection(store[0])),
        ]
    return checks


def _check(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, work())
    except FederatedFactoryError as error:
        return Check(name, error.message, error.hint, error.exit_code)


def _home(home: CoordinatorHome) -> str:
    settings = home.settings()
    home.trust()
    return f"{settings.federation_id} in {home.root}"


def _keys(home: CoordinatorHome) -> str:
    exposed = [
        path.name for path in home.root.glob("*/*.key") if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if exposed:
        raise NotReadyError(
            f"others on this machine can read {', '.join(sorted(exposed))}",
            hint="chmod 600 the keys; if someone may have read them, found a new federation",
        )
    for name in ("server", "issuing"):
        credential = home.credential(name)
        if credential.key.public_key() != credential.leaf.public_key():
            raise UntrustedError(f"the {name} certificate is for another key")
    return "readable by their owner alone, and fit their certificates"


def _server_certificate(home: CoordinatorHome, now: dt.datetime) -> str:
    chain, trust = home.credential("server").chain, home.trust()
    trust.verify(chain, Purpose.TLS_SERVER, Role.COORDINATOR, at=now)
    left = chain[0].not_valid_after_utc - now
    later = "renewed by serve within minutes" if renewal_due(chain[0], now) else "renewed in time"
    return f"{left.days} days left, {later}; for {', '.join(home.settings().hosts)}"


def _issuing_certificate(home: CoordinatorHome, now: dt.datetime) -> str:
    left = home.credential("issuing").until - now
    if left < dt.timedelta(0):
        raise UntrustedError("the issuing certificate has expired", hint="found a new federation")
    root = home.trust().certificate.not_valid_after_utc - now
    later = ", renew it with ff-coordinator rotate-root" if left < dt.timedelta(days=1461) else ""
    return f"{left.days} days left{later}; {root.days} days of the root"


def _members(home: CoordinatorHome, store: Store, now: dt.datetime) -> str:
    held = newest_list(store, home.trust(), now)
    if held is None:
        return "none yet: serve signs the first one"
    if held.expired(now):
        raise UntrustedError(
            f"the member list expired on {held.expires_at}: sites are warned",
            hint="run serve on a home with authority/signing.key: it signs a new one",
        )
    return f"number {held.version}, until {held.expires_at}; {len(held.expelled)} expelled"


def _open(home: CoordinatorHome, store: list[Store]) -> str:
    opened = open_store(home)
    opened.held(COLLECTION_KEY)
    store.append(opened)
    return home.settings().store or str(home.store_folder)


def _writes(store: Store) -> str:
    """Create, refuse to replace, read back, delete: all that the relay's safety rests on."""
    key, data = f"probes/{secrets.token_hex(8)}.txt", b"probe"
    try:
        if not store.put_if_absent(key, data) or store.get(key) != data:
            raise StoreError("an object that was written is not there")
        if store.put_if_absent(key, b"other") or store.get(key) != data:
            raise StoreError(
                "the store replaces objects although it is told to create only",
                hint="use a store with conditional writes (If-None-Match): without them invitations"
                " can be used twice",
            )
    finally:
        store.delete(key)
    if store.get(key) is not None:
        raise StoreError("an object that was deleted is still there")
    return "creates, refuses to replace, reads back and deletes"


def _clock(store: Store) -> str:
    key = f"probes/{secrets.token_hex(8)}.txt"
    before = time.time()
    store.put_if_absent(key, b"probe")
    held = store.held(key)
    store.delete(key)
    after = time.time()
    assert held is not None, "_writes has just done the same"
    offset = max(before - held.modified, held.modified - after, 0.0)
    if offset > CLOCK_TOLERANCE_SECONDS:
        raise UntrustedError(
            f"this machine's clock and the store's are {offset:.0f} s apart",
            hint="set up NTP: certificates and garbage collection rest on the clock",
        )
    return f"within {CLOCK_TOLERANCE_SECONDS:.0f} s of this machine's"


def _spec(home: CoordinatorHome, store: Store) -> str:
    ensure_spec(home, store)
    return "the signed spec is there"


def _collection(store: Store) -> str:
    mark = store.held(COLLECTION_KEY)
    return "none is running" if mark is None else "one is running, or was killed"
