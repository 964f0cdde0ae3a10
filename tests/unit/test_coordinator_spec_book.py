"""Revisions of the spec in the store: published once, noticed, told; and formats of the store."""

import datetime as dt

import pytest

from coordinator import capabilities
from coordinator.authority import found
from coordinator.errors import (
    NewerStoreError,
    NotReadyError,
    RefusedStatementError,
    UsageError,
)
from coordinator.home import CoordinatorHome
from coordinator.member_list import keep_signed, newest_list
from coordinator.overview import overview
from coordinator.server import Server
from coordinator.spec_book import SpecBook, preview, publish, spec_key, unknown_to
from coordinator.store import open_store
from coordinator.store_format import check_store, note_revisions, store_format
from ff_protocol import canonical, dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.capabilities import Capabilities, build_capabilities
from ff_protocol.certificates import SIGNING_LIFETIME, Credential, Purpose, issue_leaf, make_key
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import SpecError, UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.spec import parse_spec
from tests.federation import SPEC
from tests.old_homes import unpack

NOW = utc_now()
MORE = parse_spec({**SPEC, "classes": [*SPEC["classes"], "d"]})


@pytest.fixture
def home(tmp_path):
    made = CoordinatorHome(tmp_path / "coordinator")
    found(made, "test", parse_spec(SPEC), now=NOW)
    return made


def test_a_revision_is_published_once_and_every_book_sees_it_within_a_second(home):
    store, clock = open_store(home), [0.0]
    book = SpecBook(store, home.trust(), lambda: clock[0])
    assert book.newest().revision.number == 1
    assert list(unknown_to(book, set())) == []  # every site got it when it joined
    revision, changes = publish(home, store, MORE, NOW)
    assert (revision.number, [item.text for item in changes]) == (2, ["new classes: d"])
    assert book.newest().revision.number == 1
    clock[0] = 1.0
    assert book.newest().revision == revision
    first, second = (item.envelope for item in book.all())
    assert list(unknown_to(book, set())) == [first, second]
    assert list(unknown_to(book, {sha256_hex(first)})) == [second]
    with pytest.raises(UsageError, match="says already"):
        publish(home, store, MORE, NOW)
    with pytest.raises(SpecError, match="keep their order"):
        preview(book, parse_spec({**SPEC, "classes": ["b", "a", "c"]}))


def test_of_two_operators_who_publish_at_once_one_is_refused(home, monkeypatch):
    store = open_store(home)
    look = SpecBook.all

    def late(book):
        seen = look(book)
        monkeypatch.setattr(SpecBook, "all", look)
        publish(home, store, parse_spec({**SPEC, "preset": "small"}), NOW)
        return seen

    monkeypatch.setattr(SpecBook, "all", late)
    with pytest.raises(UsageError, match="another revision 2 has just been published"):
        publish(home, store, MORE, NOW)
    assert SpecBook(store, home.trust()).newest().revision.spec.preset == "small"


def test_without_the_authoritys_key_nothing_is_published(home):
    home.key("signing").unlink()
    with pytest.raises(NotReadyError):
        publish(home, open_store(home), MORE, NOW)


def test_what_the_authority_did_not_sign_is_no_revision(home):
    store = open_store(home)
    store.put_if_absent(spec_key(2), b"{}")
    store.delete(spec_key(2))
    other = CoordinatorHome(home.root.parent / "other")
    found(other, "other", parse_spec(SPEC), now=NOW)
    publish(other, open_store(other), MORE, NOW)
    forged = open_store(other).get(spec_key(2))
    assert forged is not None
    store.put_if_absent(spec_key(2), forged)
    with pytest.raises(UntrustedError):
        SpecBook(store, home.trust()).newest()


def test_the_member_list_is_signed_anew_and_names_the_revision(home):
    store = open_store(home)
    first = keep_signed(home, store, NOW)
    publish(home, store, MORE, NOW)
    second = keep_signed(home, store, NOW)
    assert (first.spec, second.spec, second.version) == (1, 2, first.version + 1)
    assert newest_list(store, home.trust(), NOW) == second
    assert keep_signed(home, store, NOW) == second


def test_what_sites_say_is_kept_once_each_and_shown_to_the_operator(home):
    store, site = open_store(home), "hospital-1"
    identity = Identity(home.settings().federation_id, Role.SITE, site)
    key = make_key()
    chain = issue_leaf(
        home.credential("issuing"),
        key.public_key(),
        identity,
        Purpose.SIGNING,
        now=NOW,
        lifetime=SIGNING_LIFETIME,
    )

    def say(revision: int, minutes: int) -> bool:
        at = timestamp(NOW + dt.timedelta(minutes=minutes))
        value = Capabilities(
            identity.federation_id, site, at, "0.1.0", revision, None, (1,), ("tiny",), 16
        )
        envelope = dsse.sign(build_capabilities(value), Credential(key, chain))
        payload = dsse.verify(envelope, home.trust(), (Role.SITE,), at=NOW)
        return capabilities.add(store, payload, envelope)

    assert not say(1, 0)
    assert not say(1, 1)
    assert not say(2, 1)  # of one second the later one counts: a revision may be adopted at once
    with pytest.raises(RefusedStatementError, match="said something later"):
        say(1, 0)
    assert len(list(store.list("capabilities/"))) == 1
    assert capabilities.told(store, home.trust(), NOW)[site].revision == 2
    publish(home, store, parse_spec({**SPEC, "image": {"size": 32, "channels": 1}}), NOW)
    seen = overview(home, NOW)
    assert (seen["spec_revision"], seen["site_programs"]) == (2, {site: "0.1.0"})
    assert seen["sites_lacking"] == {site: ["images of 32 px (at most 16)"]}


def test_a_store_of_a_later_format_is_served_by_no_earlier_program(home):
    store = open_store(home)
    assert (store_format(store), check_store(store)) == (1, 1)
    note_revisions(store)
    note_revisions(store)
    assert check_store(store) == 2
    value = canonical.dumps({"format": 7, "program": "3.2.1"})
    store.put_if_absent("format/00000007.json", value)
    with pytest.raises(NewerStoreError, match=r"made by ff-coordinator 3\.2\.1") as refused:
        Server(home, "127.0.0.1:0")
    assert refused.value.exit_code == 10
    assert "install ff-coordinator 3.2.1" in refused.value.hint


def test_a_home_of_a_later_version_says_so(home):
    text = home.settings_file.read_text().replace("version: 1", "version: 4")
    home.settings_file.write_text(text)
    with pytest.raises(NewerStoreError, match="of format 4"):
        home.settings()


@pytest.mark.parametrize("name", ["card-1", "card-2"])
def test_homes_and_stores_of_earlier_versions_open_as_they_are(tmp_path, name):
    home = CoordinatorHome(unpack(name, tmp_path) / "coordinator")
    seen = overview(home, utc_now())
    assert (seen["store_format"], seen["spec_revision"], seen["publications"]) == (1, 1, 2)
    assert seen["site_revisions"] == {"hospital-1": None, "hospital-2": None}
