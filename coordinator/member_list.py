"""The authority's member list in the store: signed when someone is expelled, and before it expires.

    members/<version>.dsse                     signed member lists, version in eight digits

The operator's commands sign it, and every running server that has the authority's signing key does
so too when half of its validity is over, so that sites are never left with an expired one. Versions
are taken by put-if-absent: of two who sign at once, one goes on from the other's.
"""

import datetime as dt

from coordinator.errors import BusyError, NotReadyError
from coordinator.home import CoordinatorHome
from coordinator.membership import Expulsion, expulsions
from coordinator.root_changes import roots_version
from coordinator.statement_book import StatementBook
from coordinator.store import PUBLICATIONS, Store
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import parse_timestamp, timestamp
from ff_protocol.members import (
    MAX_REMAINING,
    VALIDITY,
    ExpelledSite,
    MemberList,
    build_members,
    read_members,
)
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot

MEMBERS_PREFIX = "members/"
_TRIES = 8


def members_key(version: int) -> str:
    """Key of a member list."""
    return f"{MEMBERS_PREFIX}{version:08d}.dsse"


def newest_envelope(store: Store) -> bytes | None:
    """Return the newest signed list, None if there is none."""
    key = max(store.list(MEMBERS_PREFIX), default=None)
    return None if key is None else store.get(key)


def newest_list(store: Store, trust: TrustRoot, now: dt.datetime) -> MemberList | None:
    """Return the newest list, verified.

    Raises:
        UntrustedError, MalformedError: the store holds what the authority did not sign.
    """
    envelope = newest_envelope(store)
    if envelope is None:
        return None
    return read_members(dsse.verify(envelope, trust, (Role.AUTHORITY,), at=now), at=None)


def is_due(
    held: MemberList | None,
    expelled: frozenset[str],
    roots: int,
    now: dt.datetime,
    spec: int = 1,
) -> bool:
    """Say whether a new list has to be signed.

    Args:
        held: the newest one.
        expelled: the sites that are expelled now.
        roots: the version of the federation's roots.
        now: the present time.
        spec: the revision of the federation spec.
    """
    if held is None or (held.sites(), held.roots, held.spec) != (expelled, roots, spec):
        return True
    return parse_timestamp(held.expires_at) - now < VALIDITY / 2


def keep_signed(home: CoordinatorHome, store: Store, now: dt.datetime) -> MemberList | None:
    """Sign a new list if one is due; return the newest.

    Args:
        home: with the authority's signing key; without it nothing is signed.
        store: where the list is.
        now: the present time.

    Raises:
        StoreError: the store refuses.
        PassphraseError: the key is encrypted and the passphrase is missing or wrong.
    """
    trust, roots = home.trust(), roots_version(home)
    book = StatementBook(store, trust)
    for _ in range(_TRIES):
        held = newest_list(store, trust, now)
        expelled = expulsions(store)
        spec = book.specs.newest().revision.number
        if not is_due(held, frozenset(item.site for item in expelled), roots, now, spec):
            return held
        try:
            signer = home.credential("signing")
        except NotReadyError:
            return held
        members = MemberList(
            federation_id=trust.federation_id,
            version=held.version + 1 if held else 1,
            issued_at=timestamp(now),
            expires_at=timestamp(now + VALIDITY),
            roots=roots,
            expelled=_entries(expelled, held, book),
            spec=spec,
        )
        envelope = dsse.sign(build_members(members), signer)
        if store.put_if_absent(members_key(members.version), envelope):
            return members
    raise BusyError("others sign member lists at the same time", hint="run the command again")


def unknown_to(store: Store, known: set[str]) -> list[bytes]:
    """Return the newest list unless its hash is in `known`."""
    envelope = newest_envelope(store)
    return [] if envelope is None or sha256_hex(envelope) in known else [envelope]


def modules_of(book: StatementBook, store: Store, sites: frozenset[str]) -> dict[str, list[str]]:
    """Return the digests of the modules that each of these sites has published and not revoked."""
    found: dict[str, list[str]] = {site: [] for site in sites}
    for key in store.list(PUBLICATIONS) if sites else ():
        publication = book.publication(key)
        if publication is not None and publication.site_id in sites:
            found[publication.site_id].append(publication.module)
    return found


def _entries(
    expelled: list[Expulsion], held: MemberList | None, book: StatementBook
) -> tuple[ExpelledSite, ...]:
    """Take over what the list before says of a site: which modules remain is decided once."""
    known = {entry.site_id: entry for entry in held.expelled} if held else {}
    fresh = frozenset(item.site for item in expelled if not _same(item, known.get(item.site)))
    modules = modules_of(book, book.store, fresh)
    return tuple(
        known[item.site]
        if item.site not in fresh
        else ExpelledSite(
            item.site,
            item.expelled_at,
            item.reason,
            tuple(sorted(modules[item.site]))[:MAX_REMAINING],
        )
        for item in expelled
    )


def _same(expulsion: Expulsion, entry: ExpelledSite | None) -> bool:
    return entry is not None and entry.expelled_at == expulsion.expelled_at
