"""The member list that the coordinator keeps signed: when, what is in it, by whom."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator import member_list
from coordinator.authority import found
from coordinator.expulsion import expel_site, readmit_site
from coordinator.home import CoordinatorHome
from coordinator.member_list import keep_signed, newest_list
from coordinator.membership import expel
from coordinator.store import open_store, publication_key
from ff_protocol import dsse
from ff_protocol.certificates import SIGNING_LIFETIME, Credential, Purpose, issue_leaf, make_key
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.manifest import describe_module
from ff_protocol.members import VALIDITY
from ff_protocol.names import Identity, Role
from ff_protocol.spec import parse_spec
from ff_protocol.statements import Publication, build_publication
from tests.federation import SPEC, make_module

NOW = utc_now()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr("coordinator.expulsion.REMEMBERED_SECONDS", 0)
    made = CoordinatorHome(tmp_path / "coordinator")
    found(made, "test", parse_spec(SPEC), now=NOW)
    return made


def publish(home, folder, site, seed):
    """Put a publication into the store, as the relay does."""
    key = make_key()
    identity = Identity(home.settings().federation_id, Role.SITE, site)
    chain = issue_leaf(
        home.credential("issuing"),
        key.public_key(),
        identity,
        Purpose.SIGNING,
        now=NOW,
        lifetime=SIGNING_LIFETIME,
    )
    digest, entries = describe_module(make_module(folder / f"{site}-{seed}", 100, seed=seed))
    value = Publication(identity.federation_id, site, "a", digest, entries, timestamp(NOW))
    envelope = dsse.sign(build_publication(value), Credential(key, chain))
    assert open_store(home).put_if_absent(publication_key(digest), envelope)
    return digest


def test_a_list_is_signed_at_once_and_again_when_half_of_it_is_over(home):
    store = open_store(home)
    first = keep_signed(home, store, NOW)
    assert (first.version, first.expelled) == (1, ())
    assert keep_signed(home, store, NOW + VALIDITY / 2 - dt.timedelta(hours=1)) == first
    second = keep_signed(home, store, NOW + VALIDITY / 2 + dt.timedelta(hours=1))
    assert (second.version, second.expelled) == (2, ())
    assert not second.expired(NOW + VALIDITY * 1.4)


def test_it_names_what_was_there_and_only_that(home, tmp_path):
    store = open_store(home)
    before = publish(home, tmp_path, "bad", 1)
    publish(home, tmp_path, "good", 2)
    done = expel_site(home, store, "bad", "a reason", NOW)
    assert (done.changed, done.revoked) == (True, ())
    (entry,) = done.members.expelled
    assert (entry.site_id, entry.reason, entry.modules) == ("bad", "a reason", (before,))
    # What a careless or bribed coordinator lets in later is not added by a later list.
    after = publish(home, tmp_path, "bad", 3)
    later = keep_signed(home, store, NOW + VALIDITY)
    assert later.version == done.members.version + 1
    assert later.refuses(after, "bad")
    assert not later.refuses(before, "bad")
    readmitted = readmit_site(home, store, "bad", NOW)
    assert (readmitted.changed, readmitted.members.expelled) == (True, ())
    again = expel_site(home, store, "bad", "", NOW + dt.timedelta(seconds=5))
    assert sorted(again.members.expelled[0].modules) == sorted((before, after))


def test_modules_are_revoked_by_name_once(home, tmp_path):
    store = open_store(home)
    modules = {publish(home, tmp_path, "bad", number) for number in (1, 2)}
    other = publish(home, tmp_path, "good", 3)
    done = expel_site(home, store, "bad", "", NOW, revoke_modules=True)
    assert set(done.revoked) == modules
    book = member_list.StatementBook(store, home.trust())
    assert all(book.is_revoked(module, "bad") for module in modules)
    assert not book.is_revoked(other, "good")
    again = expel_site(home, store, "bad", "", NOW, revoke_modules=True)
    assert (again.changed, again.revoked) == (False, ())
    (revocation,) = book.revocations("authority")
    assert (revocation.site_id, set(revocation.modules)) == (None, modules)


def test_a_home_without_the_authoritys_key_signs_nothing(home):
    store = open_store(home)
    first = keep_signed(home, store, NOW)
    home.key("signing").unlink()
    expel(store, "bad", "", NOW)
    assert keep_signed(home, store, NOW) == first
    assert newest_list(store, home.trust(), NOW) == first


def test_replicas_that_sign_at_once_agree(home):
    store = open_store(home)
    expel(store, "bad", "", NOW)
    with ThreadPoolExecutor(4) as pool:
        found_lists = list(pool.map(lambda _: keep_signed(home, open_store(home), NOW), range(4)))
    assert {item.version for item in found_lists} == {1}
    assert list(store.list("members/")) == ["members/00000001.dsse"]
