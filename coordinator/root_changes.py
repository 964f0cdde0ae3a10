"""The federation's root and its successor, as the statements in the store say (ff_protocol.roots).

    roots/<version>.dsse                       signed changes of root, version in eight digits

Each home follows the store one version at a time: first `federation-ca.pem` and the issuing CA's
certificates are written, then the statement that they came from. An interruption leaves a home that
follows the same statement again.
"""

import datetime as dt
from collections.abc import Iterator

from coordinator.home import CoordinatorHome
from coordinator.store import Store
from ff_protocol import roots
from ff_protocol.canonical import sha256_hex
from ff_protocol.certificates import chain_to_pem
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_TRUST_STATEMENT_BYTES

ROOTS = "roots/"
_MAX_ISSUING = 3


def roots_key(version: int) -> str:
    """Key of a change of root."""
    return f"{ROOTS}{version:08d}.dsse"


def roots_version(home: CoordinatorHome) -> int:
    """Return the version of the federation's roots that a home has followed."""
    try:
        envelope = read_bounded(home.roots_envelope, MAX_TRUST_STATEMENT_BYTES, "roots")
    except FileNotFoundError:
        return roots.FIRST_VERSION
    return roots.stated_version(envelope)


def follow_store(home: CoordinatorHome, store: Store, now: dt.datetime) -> int:
    """Have a home trust what the newest change in the store says; return its version.

    Raises:
        UntrustedError, MalformedError: the store holds a change that the right roots did not sign.
    """
    version = roots_version(home)
    while True:
        envelope = store.get(roots_key(version + 1))
        if envelope is None:
            return version
        statement = roots.follow(envelope, home.trust(), version, at=now)
        assert statement is not None, "it is the next version"
        issuing = list(home.chain("issuing"))
        # The oldest first: who trusts the first root alone finds its way without trying others.
        issuing += [certificate for certificate in statement.issuing if certificate not in issuing]
        write_atomically(home.root_certificate, statement.trust().pem)
        write_atomically(home.certificate("issuing"), chain_to_pem(tuple(issuing[-_MAX_ISSUING:])))
        write_atomically(home.roots_envelope, envelope)
        version = statement.version


def unknown_to(store: Store, known: set[str]) -> Iterator[bytes]:
    """Yield the changes of root whose hash is not in `known`, in order."""
    for key in store.list(ROOTS):
        envelope = store.get(key)
        if envelope is not None and sha256_hex(envelope) not in known:
            yield envelope
