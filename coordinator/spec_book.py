"""The federation spec in the store: its revisions, and publishing the next one.

    spec.dsse                                  revision 1, signed when the federation was founded
    specs/<revision>.dsse                      the later ones, revision in eight digits

A revision is made by put-if-absent under the next number and holds the hash of the one before: of
two operators who publish at once, one is refused. Servers notice a new one within a second; sites
get all of them with the statements (ff_protocol.revisions).
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from coordinator.errors import NotReadyError, UsageError
from coordinator.home import CoordinatorHome
from coordinator.store import SPEC_KEY, Store
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.names import Role
from ff_protocol.revisions import (
    FIRST,
    SpecRevision,
    build_revision,
    check_follows,
    read_revision,
)
from ff_protocol.spec import FederationSpec
from ff_protocol.spec_changes import Change, changes, check_change
from ff_protocol.trust import TrustRoot

SPECS = "specs/"
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Held:
    """A revision as it lies in the store."""

    envelope: bytes
    revision: SpecRevision


def spec_key(revision: int) -> str:
    """Key of a revision of the spec."""
    return SPEC_KEY if revision == FIRST else f"{SPECS}{revision:08d}.dsse"


class SpecBook:
    """The revisions of one federation's spec, each verified once."""

    def __init__(
        self, store: Store, trust: TrustRoot, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._trust, self._clock = store, trust, clock
        self._held: tuple[Held, ...] = ()
        self._looked = 0.0

    def newest(self) -> Held:
        """Return the revision in force, at most a second old.

        Raises:
            NotReadyError: the store has no spec.
            UntrustedError, MalformedError: the store holds what the authority did not sign.
        """
        return self.all()[-1]

    def all(self, *, fresh: bool = False) -> tuple[Held, ...]:
        """Return every revision in order, with `fresh` none is missed; raises as `newest` does."""
        now = self._clock()
        if fresh or not self._held or now - self._looked >= _LOOK_SECONDS:
            held = list(self._held)
            while (envelope := self._store.get(spec_key(len(held) + 1))) is not None:
                revision = self.read(envelope)
                if held:
                    check_follows(revision, held[-1].revision)
                held.append(Held(envelope, revision))
            self._held, self._looked = tuple(held), now
        if not self._held:
            raise NotReadyError("the store has no federation spec")
        return self._held

    def read(self, envelope: bytes) -> SpecRevision:
        """Verify one.

        Raises:
            UntrustedError, MalformedError, SpecError: it does not hold.
        """
        return read_revision(
            dsse.verify(envelope, self._trust, (Role.AUTHORITY,), at=utc_now(), held=True)
        )


def unknown_to(book: SpecBook, known: set[str]) -> Iterator[bytes]:
    """Yield the revisions whose hash is not in `known`, in order.

    As long as there is one only, every site got it when it joined, and none is asked to take it.
    """
    held = book.all(fresh=True)
    for item in held if len(held) > 1 else ():
        if sha256_hex(item.envelope) not in known:
            yield item.envelope


def preview(book: SpecBook, spec: FederationSpec) -> tuple[Change, ...]:
    """Return what a spec would change.

    Raises:
        SpecError: it may not follow the revisions that there are.
        UsageError: it changes nothing.
    """
    revisions = [item.revision for item in book.all()]
    found = changes(revisions[-1].spec, spec)
    if not found:
        raise UsageError(
            f"this is what revision {revisions[-1].number} of the federation spec says already"
        )
    check_change((item.spec for item in revisions), spec)
    return found


def publish(
    home: CoordinatorHome, store: Store, spec: FederationSpec, now: dt.datetime
) -> tuple[SpecRevision, tuple[Change, ...]]:
    """Sign a spec as the next revision and put it into the store.

    Args:
        home: with the authority's signing key.
        store: of the federation; running servers and sites take it from there.
        spec: what holds from now on.
        now: present time.

    Returns:
        The revision, and what it changes.

    Raises:
        SpecError: it may not follow the revisions that there are.
        UsageError: it changes nothing, or another one was published at this moment.
        NotReadyError: this home has not the authority's signing key.
    """
    book = SpecBook(store, home.trust())
    found, before = preview(book, spec), book.newest().revision
    revision = SpecRevision(
        federation_id=before.federation_id,
        name=before.name,
        number=before.number + 1,
        previous=before.digest,
        spec=spec,
        issued_at=timestamp(now),
    )
    envelope = dsse.sign(build_revision(revision), home.credential("signing"))
    if not store.put_if_absent(spec_key(revision.number), envelope):
        raise UsageError(
            f"another revision {revision.number} has just been published",
            hint="see ff-coordinator spec",
        )
    return book.read(envelope), found
