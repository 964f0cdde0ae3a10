"""The coordinator keeps every site's heads in order and hands out the newest."""

import dataclasses

import pytest

from coordinator.errors import RefusedStatementError
from coordinator.folder_store import FolderStore
from coordinator.heads_book import HeadsBook
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.certificates import Purpose
from ff_protocol.clock import utc_now
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.heads import Head, Heads, RecordHead, build_heads, read_heads
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot
from tests.homes import FEDERATION, Authority, make_authority


@pytest.fixture(scope="module")
def party() -> tuple[Authority, dict]:
    authority = make_authority()
    names = ("hospital-1", "hospital-2")
    return authority, {
        name: authority.credential(Role.SITE, name, Purpose.SIGNING) for name in names
    }


@pytest.fixture
def book(tmp_path) -> HeadsBook:
    return HeadsBook(FolderStore(tmp_path))


def heads(site="hospital-1", sequence=1, **changes) -> Heads:
    value = Heads(
        federation_id=FEDERATION,
        site_id=site,
        sequence=sequence,
        issued_at="2026-11-23T12:00:00Z",
        expires_at="2026-11-30T12:00:00Z",
        heads=(Head("authority", 2, "a" * 64), Head("hospital-2", 1, "b" * 64)),
        record=RecordHead(7, "c" * 64),
    )
    return dataclasses.replace(value, **changes)


def signed(party, value: Heads, by: str | None = None):
    authority, credentials = party
    envelope = dsse.sign(build_heads(value), credentials[by or value.site_id])
    trust = TrustRoot(authority.root.leaf, FEDERATION)
    return dsse.verify(envelope, trust, (Role.SITE,), at=utc_now()), envelope


def test_each_sites_newest_heads_are_handed_out(party, book):
    first, second = signed(party, heads()), signed(party, heads(sequence=2))
    other = signed(party, heads("hospital-2", 5))
    assert [book.add(*item) for item in (first, second, other)] == [False, False, False]
    assert set(book.unknown_to(set())) == {second[1], other[1]}
    assert list(book.unknown_to({sha256_hex(second[1])})) == [other[1]]


def test_the_same_heads_twice_are_a_no_op_and_older_or_other_ones_are_refused(party, book):
    newest = signed(party, heads(sequence=3))
    book.add(*newest)
    assert book.add(*newest) is True
    for value in (heads(sequence=2), heads(sequence=3, heads=())):
        with pytest.raises(RefusedStatementError, match="has signed heads 3 before"):
            book.add(*signed(party, value))
    assert list(book.unknown_to(set())) == [newest[1]]


def test_heads_for_another_site_are_refused(party, book):
    with pytest.raises(UntrustedError, match="cannot sign heads for"):
        book.add(*signed(party, heads("hospital-2"), by="hospital-1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_at": "2027-11-30T12:00:00Z"},
        {"expires_at": "2026-11-22T12:00:00Z"},
        {"issued_at": "yesterday"},
        {"sequence": 0},
        {"heads": (Head("b", 1, "a" * 64), Head("a", 1, "a" * 64))},
        {"heads": (Head("../a", 1, "a" * 64),)},
        {"heads": (Head("a", 1, "x"),)},
        {"record": RecordHead(-1, "a" * 64)},
    ],
)
def test_malformed_heads_are_refused(party, changes):
    payload, _ = signed(party, heads(**changes))
    with pytest.raises(MalformedError):
        read_heads(payload, at=utc_now())


def test_heads_survive_signing_and_reading(party):
    payload, _ = signed(party, heads())
    assert read_heads(payload, at=utc_now()) == heads()
