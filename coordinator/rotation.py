"""Changing the federation's root: a successor beside it, and later the successor alone.

Both statements (ff_protocol.roots) are signed at once, while both root keys are at hand; the second
waits in the home until `finish`. Afterwards the old key is needed for nothing.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from coordinator.errors import NotReadyError, UsageError
from coordinator.home import CoordinatorHome
from coordinator.member_list import keep_signed
from coordinator.root_changes import follow_store, roots_key, roots_version
from coordinator.root_folder import RootFolder, read_root, write_root
from coordinator.store import Store
from ff_protocol import roots
from ff_protocol.certificates import certify_issuing, make_root, root_fingerprint
from ff_protocol.clock import timestamp
from ff_protocol.errors import UntrustedError
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_TRUST_STATEMENT_BYTES
from ff_protocol.trust import directly_issued

_FINISH = "finish-roots.dsse"


@dataclass(frozen=True)
class Rotation:
    """Where a change of root stands.

    Attributes:
        version: of the federation's roots.
        fingerprints: SHA-256 of each root that holds now; the one in force first.
        finished: only the new one holds.
    """

    version: int
    fingerprints: tuple[str, ...]
    finished: bool


def begin(
    home: CoordinatorHome, store: Store, old: RootFolder, new: RootFolder, now: dt.datetime
) -> Rotation:
    """Make a new root, and have it trusted beside the present one.

    Args:
        home: the operator's.
        store: of the federation: running servers and sites take the change from there.
        old: where the present root's key is.
        new: where the new root's key goes; must hold none.
        now: present time.

    Raises:
        UsageError: a change is under way, or `new` holds a root.
        NotReadyError, UntrustedError: `old` does not hold the present root.
        StoreError, StorageError: store or disk refuse; run it again with another `new`.
    """
    follow_store(home, store, now)
    trust, settings = home.trust(), home.settings()
    if len(trust.roots) > 1:
        raise UsageError(
            "a change of root is under way",
            hint="end it first, once every site has received: ff-coordinator rotate-root --finish",
        )
    present = read_root(old)
    if present.leaf != trust.certificate:
        raise UntrustedError(
            f"the root in {old.folder} is not the one in force",
            hint=f"its fingerprint must be {trust.fingerprint}",
        )
    begins = trust.certificate.not_valid_before_utc
    successor = make_root(settings.name, now, begins=begins)
    chain = home.chain("issuing")
    issuing = home.credential("issuing").key.public_key()
    certified = certify_issuing(successor, issuing, chain[0].subject, now, begins=begins)
    (held,) = (item for item in chain if directly_issued(item, trust.certificate))
    version = roots_version(home)
    both = roots.TrustStatement(
        federation_id=settings.federation_id,
        version=version + 1,
        roots=(trust.certificate, successor.leaf),
        issuing=(held, certified),
        issued_at=timestamp(now),
    )
    alone = roots.TrustStatement(
        federation_id=settings.federation_id,
        version=version + 2,
        roots=(successor.leaf,),
        issuing=(certified,),
        issued_at=timestamp(now),
    )
    write_root(new, successor)
    write_atomically(_finish_file(home), roots.sign_trust(alone, (successor,)))
    envelope = roots.sign_trust(both, (present, successor))
    if not store.put_if_absent(roots_key(both.version), envelope):
        raise UsageError("another change of root has just begun", hint="see ff-coordinator status")
    return _followed(home, store, now)


def finish(home: CoordinatorHome, store: Store, now: dt.datetime) -> Rotation:
    """Trust the new root alone from now on.

    Sites that have not received since `begin` take both steps at their next receive.

    Raises:
        UsageError: no change is under way.
        NotReadyError: the statement signed by `begin` is not in this home.
    """
    follow_store(home, store, now)
    if len(home.trust().roots) < 2:
        raise UsageError("no change of root is under way")
    try:
        envelope = read_bounded(_finish_file(home), MAX_TRUST_STATEMENT_BYTES, "roots")
    except FileNotFoundError as error:
        raise NotReadyError(
            "the statement that ends the change is not in this home",
            hint="run this on the machine where rotate-root was begun",
        ) from error
    store.put_if_absent(roots_key(roots_version(home) + 1), envelope)
    return _followed(home, store, now)


def _followed(home: CoordinatorHome, store: Store, now: dt.datetime) -> Rotation:
    version = follow_store(home, store, now)
    keep_signed(home, store, now)
    held = home.trust().roots
    return Rotation(version, tuple(map(root_fingerprint, held)), finished=len(held) == 1)


def _finish_file(home: CoordinatorHome) -> Path:
    return home.key("root").with_name(_FINISH)
