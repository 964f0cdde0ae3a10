"""Expelling a site: refused here at once, the others told, its modules revoked if asked."""

import datetime as dt
import time
from dataclasses import dataclass

from coordinator.home import CoordinatorHome
from coordinator.member_list import keep_signed, modules_of
from coordinator.membership import REMEMBERED_SECONDS, expel, readmit
from coordinator.statement_book import StatementBook
from coordinator.store import Store, revocation_key
from ff_protocol import dsse
from ff_protocol.clock import timestamp
from ff_protocol.members import MemberList
from ff_protocol.names import Role
from ff_protocol.statements import Revocation, build_revocation, read_revocation

MODULES_PER_STATEMENT = 2048
"""Each takes about 130 bytes of an envelope that may have 1 MiB."""


@dataclass(frozen=True)
class Expelled:
    """What expelling led to.

    Attributes:
        changed: False if it was so before.
        revoked: digests of the modules that were revoked now.
        members: the list that the sites take; None if this home cannot sign.
    """

    changed: bool
    revoked: tuple[str, ...]
    members: MemberList | None


def expel_site(
    home: CoordinatorHome,
    store: Store,
    site: str,
    reason: str,
    now: dt.datetime,
    *,
    revoke_modules: bool = False,
) -> Expelled:
    """Refuse a site from now on and tell the others; safe to repeat.

    Args:
        home: with the authority's signing key, to tell the others.
        store: of the federation.
        site: who is expelled.
        reason: for the operator's record and the other sites' admins.
        now: present time.
        revoke_modules: have every site forget what the site published.

    Raises:
        MalformedError: not a site name.
        NotReadyError: modules are to be revoked and this home has no signing key. The site is
            expelled then.
    """
    changed = expel(store, site, reason, now)
    if changed:
        time.sleep(REMEMBERED_SECONDS)  # from then on no replica takes anything from the site
    revoked = _revoke(home, store, site, reason, now) if revoke_modules else ()
    return Expelled(changed, revoked, keep_signed(home, store, now))


def readmit_site(home: CoordinatorHome, store: Store, site: str, now: dt.datetime) -> Expelled:
    """Take an expulsion back and tell the others; modules that were revoked stay so."""
    changed = readmit(store, site)
    return Expelled(changed, (), keep_signed(home, store, now))


def _revoke(
    home: CoordinatorHome, store: Store, site: str, reason: str, now: dt.datetime
) -> tuple[str, ...]:
    book = StatementBook(store, home.trust())
    modules = [
        module
        for module in modules_of(book, store, frozenset({site}))[site]
        if not book.is_revoked(module, site)
    ]
    for start in range(0, len(modules), MODULES_PER_STATEMENT):
        part = tuple(modules[start : start + MODULES_PER_STATEMENT])
        _sign_revocation(home, store, book, part, f"{site} was expelled: {reason}"[:500], now)
    return tuple(modules)


def _sign_revocation(
    home: CoordinatorHome,
    store: Store,
    book: StatementBook,
    modules: tuple[str, ...],
    reason: str,
    now: dt.datetime,
) -> None:
    signer, trust = home.credential("signing"), home.trust()
    while True:
        chain = book.revocations(str(Role.AUTHORITY))
        draft = Revocation(
            federation_id=trust.federation_id,
            issuer=str(Role.AUTHORITY),
            modules=modules,
            site_id=None,
            reason=reason,
            sequence=len(chain) + 1,
            previous=chain[-1].digest if chain else None,
            issued_at=timestamp(now),
            digest="",
        )
        envelope = dsse.sign(build_revocation(draft), signer)
        signed = read_revocation(dsse.verify(envelope, trust, (Role.AUTHORITY,), at=now))
        # Taken only if the operator signs two at once: then the next number.
        if book.enter(revocation_key(signed), envelope):
            return
