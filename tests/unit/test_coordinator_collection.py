"""Garbage collection: what goes, what stays, and that no publication or transfer can lose by it."""

import os
import time
from contextlib import suppress

import pytest

from coordinator import collection as collecting
from coordinator.chunk_store import ChunkStore
from coordinator.collection import UNPUBLISHED_SECONDS, Collection
from coordinator.collection_mark import CollectionMark, check_not_condemned
from coordinator.errors import BusyError, RefusedStatementError, UsageError
from coordinator.publishing import publish_complete
from coordinator.rules import needed_chunks
from coordinator.statement_book import StatementBook
from coordinator.store import COLLECTION_KEY, chunk_key, open_store, open_url, publication_key
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import utc_now
from ff_protocol.errors import MalformedError
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from tests.federation import make_federation, make_module
from tests.interleavings import SteppedStore, explore

OLD = 30 * 24 * 3600.0


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation"), serve=False) as founded:
        yield founded


@pytest.fixture
def store(federation):
    store = open_store(federation.home)
    yield store
    for prefix in ("chunks/", "publications/", "revocations/", "intents/"):
        for key, _ in list(store.scan(prefix)):
            store.delete(key)
    store.delete(COLLECTION_KEY)


def age(federation, *keys):
    """Make objects look as if they had been written a month ago."""
    then = time.time() - OLD
    for key in keys:
        os.utime(federation.home.store_folder / key, (then, then))


def put_chunks(store, folder):
    """Store the chunks of a module's files; return their keys."""
    keys = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            ChunkStore(store).put(bytes.fromhex(sha256_hex(chunk)), chunk)
            keys.append(chunk_key(sha256_hex(chunk)))
    return keys


def verified(federation, envelope):
    return dsse.verify(envelope, federation.trust, (Role.SITE,), at=utc_now()), envelope


@pytest.fixture
def published(federation, store, tmp_path):
    """A site with one published module, everything a month old."""
    site = federation.site("sender")
    folder = make_module(tmp_path / "published", 1_500_000, seed=1)
    keys = put_chunks(store, folder)
    publication, envelope = site.publication_of(folder)
    StatementBook(store, federation.trust).add_publication(*verified(federation, envelope))
    age(federation, *keys)
    return site, publication, keys


def present(store, keys):
    return [store.held(key) is not None for key in keys]


def test_what_a_module_needs_stays_and_what_nobody_published_goes(
    federation, store, published, tmp_path
):
    orphans = put_chunks(store, make_module(tmp_path / "orphan", 2_500_000, seed=2))
    age(federation, *orphans[1:])
    assert Collection(store, federation.trust).preview().unpublished == 4
    assert all(present(store, orphans))
    done = Collection(store, federation.trust).run()
    assert (done.live, done.unpublished, done.revoked) == (4, 4, 0)
    assert all(present(store, published[2]))
    assert present(store, orphans) == [True, False, False, False, False]
    assert store.held(COLLECTION_KEY) is None


def test_a_revoked_modules_chunks_go_unless_another_module_has_them(
    federation, store, published, tmp_path
):
    site, publication, keys = published
    # The other module shares the first chunk of card and signature, as both are equal.
    other = make_module(tmp_path / "other", 700_000, seed=3)
    for name in ("card.json", "module.sig"):
        (other / name).write_bytes((tmp_path / "published" / name).read_bytes())
    others = put_chunks(store, other)
    _, envelope = site.publication_of(other)
    book = StatementBook(store, federation.trust)
    book.add_publication(*verified(federation, envelope))
    _, revocation = site.revocation((publication.module,))
    book.add_revocation(*verified(federation, revocation))
    age(federation, *keys, *others)
    done = Collection(store, federation.trust).run()
    assert (done.revoked, done.unpublished, done.live) == (2, 0, 3)
    assert all(present(store, others))
    assert sum(present(store, keys)) == 2


def test_a_publication_that_cannot_be_read_stops_everything(federation, store, published, tmp_path):
    orphans = put_chunks(store, make_module(tmp_path / "orphan", 1000, seed=4))
    age(federation, *orphans)
    store.put_if_absent(publication_key("0" * 64), b"damaged")
    with pytest.raises(MalformedError, match="not valid JSON"):
        Collection(store, federation.trust).run()
    assert all(present(store, orphans))


def test_a_grace_shorter_than_the_promise_to_sites_is_refused(federation, store):
    with pytest.raises(UsageError, match="too short"):
        Collection(store, federation.trust, grace=3600)


def test_of_two_collections_one_runs_and_a_killed_one_is_forgotten_after_an_hour(
    federation, store, tmp_path
):
    orphans = put_chunks(store, make_module(tmp_path / "orphan", 1000, seed=5))
    age(federation, *orphans)
    killed = CollectionMark("killed", frozenset(key.rpartition("/")[2] for key in orphans))
    store.put_if_absent(COLLECTION_KEY, killed.to_bytes())
    assert CollectionMark.from_bytes(killed.to_bytes()) == killed
    with pytest.raises(BusyError, match="another garbage collection"):
        Collection(store, federation.trust).run()
    with pytest.raises(BusyError, match="deleting old chunks"):
        check_not_condemned(store, killed.chunks)
    age(federation, COLLECTION_KEY)
    assert Collection(store, federation.trust).run().unpublished == 3


def test_a_collection_that_was_held_up_deletes_no_more(federation, store, tmp_path, monkeypatch):
    orphans = put_chunks(store, make_module(tmp_path / "orphan", 1000, seed=6))
    age(federation, *orphans)
    monkeypatch.setattr(collecting, "DELETING_SECONDS", -1.0)
    with pytest.raises(BusyError, match="held up"):
        Collection(store, federation.trust).run()
    assert all(present(store, orphans))
    assert store.held(COLLECTION_KEY) is not None


def test_intents_of_killed_coordinators_protect_for_a_day_and_then_go(federation, store, tmp_path):
    orphans = put_chunks(store, make_module(tmp_path / "orphan", 1000, seed=7))
    age(federation, *orphans)
    digests = [key.rpartition("/")[2] for key in orphans]
    intent = f"intents/{'0' * 64}-00.txt"
    store.put_if_absent(intent, "\n".join(digests).encode())
    done = Collection(store, federation.trust).run()
    assert (done.spared, done.unpublished, done.intents) == (3, 0, 0)
    age(federation, intent)
    assert Collection(store, federation.trust).run().intents == 1
    assert Collection(store, federation.trust).run().unpublished == 3


def test_a_refused_publication_leaves_no_intent(federation, store, tmp_path):
    _, entries = describe_module(make_module(tmp_path / "module", 1000, seed=8))
    publication, envelope = federation.site("sender").publication(entries, "0" * 64)
    with pytest.raises(RefusedStatementError, match="3 of 3 chunks are missing"):
        publish_complete(store, "0" * 64, envelope, needed_chunks(publication))
    assert list(store.scan("intents/")) == []


# In every order of steps


@pytest.fixture(scope="module")
def one_chunk(federation, tmp_path_factory):
    """A module of a single chunk (three equal files), so that all orders can be played."""
    folder = tmp_path_factory.mktemp("one") / "module"
    folder.mkdir()
    for name in ("module.onnx", "card.json", "module.sig"):
        (folder / name).write_bytes(b"the same")
    publication, envelope = federation.site("sender").publication_of(folder)
    spec = open_store(federation.home).get("spec.dsse")
    return publication, envelope, spec


def stage(one_chunk, federation, party, after_step):
    """A scene: `party(store)` against a collection, over a store with the chunk, a month old."""
    inside = open_url("memory:///")
    inside.put_if_absent("spec.dsse", one_chunk[2])
    inside.put_if_absent(chunk_key(sha256_hex(b"the same")), b"the same")
    born = time.time()

    def one(pause):
        party(SteppedStore(inside, pause, born, OLD))

    def other(pause):
        with suppress(BusyError):
            store = SteppedStore(inside, pause, born, OLD)
            Collection(store, federation.trust).delete_unneeded([sha256_hex(b"the same")])

    return (one, other), lambda order: after_step(inside, order)


def test_a_visible_publication_is_complete_in_every_order_of_steps(federation, one_chunk):
    publication, envelope, _ = one_chunk
    needed = needed_chunks(publication)
    outcomes = set()

    def publish(store):
        try:
            publish_complete(store, publication.module, envelope, needed)
            outcomes.add("published")
        except (RefusedStatementError, BusyError) as error:
            outcomes.add(error.error_code)

    def check(store, order):
        visible = store.held(publication_key(publication.module)) is not None
        whole = store.held(chunk_key(sha256_hex(b"the same"))) is not None
        assert whole or not visible, f"published without its chunk in the order {order}"

    played = explore(lambda: stage(one_chunk, federation, publish, check))
    assert played > 500
    assert outcomes == {"published", "refused", "busy"}


@pytest.mark.parametrize("question", ["put", "missing"])
def test_what_a_site_was_told_is_here_stays_in_every_order_of_steps(
    federation, one_chunk, question
):
    digest = bytes.fromhex(sha256_hex(b"the same"))
    outcomes, promised = set(), []

    def ask(store):
        promised.clear()
        chunks = ChunkStore(store)
        try:
            if question == "put":
                chunks.put(digest, b"the same")
                promised.append("acknowledged")
            elif not chunks.missing([digest]):
                promised.append("found")
            outcomes.add(promised[0] if promised else "missing")
        except BusyError:
            outcomes.add("busy")

    def check(store, order):
        here = store.held(chunk_key(digest.hex())) is not None
        assert here or not promised, f"{promised[0]} and then deleted in the order {order}"

    def scene():
        promised.clear()
        return stage(one_chunk, federation, ask, check)

    assert explore(scene) > 50
    expected = {"put": {"acknowledged", "busy"}, "missing": {"found", "busy", "missing"}}
    assert outcomes == expected[question]


def test_without_the_second_look_the_race_is_lost(federation, one_chunk, monkeypatch):
    """The check above can fail: a collection that skips its second look loses a chunk."""
    monkeypatch.setattr(collecting, "intended_chunks", lambda store: ())
    with pytest.raises(AssertionError, match="published without its chunk"):
        test_a_visible_publication_is_complete_in_every_order_of_steps(federation, one_chunk)


def test_the_default_grace_is_a_week():
    assert UNPUBLISHED_SECONDS == 7 * 86400
