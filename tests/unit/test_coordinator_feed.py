"""The feed: one list over all replicas that only grows, and positions that mean one place in it."""

import threading

import pytest

from coordinator import feed as module
from coordinator.errors import StoreError
from coordinator.feed import Feed, entry_key, page_key
from coordinator.folder_store import FolderStore
from coordinator.object_store import ObjectStore


@pytest.fixture(params=["folder", "object"])
def store(request, tmp_path):
    return FolderStore(tmp_path) if request.param == "folder" else ObjectStore.open("memory://")


def publication(number: int) -> str:
    return f"publications/{number:064x}.dsse"


def revocation(number: int) -> str:
    return f"revocations/site-1/{number:08d}.dsse"


def test_a_position_brings_what_came_later_and_nothing_else(store):
    feed = Feed(store)
    start = feed.position()
    feed.append(publication(2))
    middle = feed.position()
    feed.append(publication(1))
    feed.append(revocation(1))
    assert feed.since(middle) == [revocation(1), publication(1)]  # revocations first
    assert feed.since(start) == [revocation(1), publication(1), publication(2)]
    assert feed.since(feed.position()) == []


def test_listing_twice_is_a_no_op_on_every_replica(store):
    one, other = Feed(store), Feed(store)
    one.append(publication(1))
    position = one.position()
    other.append(publication(1))
    assert other.position() == position
    assert Feed(store).position() == position


def test_replicas_that_list_at_once_agree_on_one_order(store):
    feeds = [Feed(store) for _ in range(3)]

    def work(feed: Feed, first: int) -> None:
        for number in range(first, first + 12):
            feed.append(publication(number))

    threads = [
        threading.Thread(target=work, args=(feed, 8 * number)) for number, feed in enumerate(feeds)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({feed.position() for feed in feeds}) == 1
    listed = feeds[0].since(Feed(ObjectStore.open("memory://")).position())
    assert listed == [publication(number) for number in range(28)]


def test_a_late_replica_reads_pages(store, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 4)
    feed = Feed(store)
    for number in range(10):
        feed.append(publication(number))
    for number in range(1, 9):  # whole pages stand for their entries
        store.delete(entry_key(number))
    assert store.get(page_key(1)) is not None
    late = Feed(store)
    assert late.position() == feed.position()
    late.append(publication(10))
    assert feed.since(late.position()) == []


def test_what_a_crash_left_unlisted_is_listed_once(store):
    for key in (publication(1), revocation(1)):
        store.put_if_absent(key, b"signed")
    feed = Feed(store)
    feed.append(publication(1))
    assert feed.reconcile() == 1
    assert feed.reconcile() == 0
    assert feed.since(Feed(ObjectStore.open("memory://")).position()) == [
        revocation(1),
        publication(1),
    ]


def test_a_position_of_another_store_or_of_before_a_roll_back_is_unknown(store):
    other = Feed(ObjectStore.open("memory://"))
    other.append(publication(7))
    feed = Feed(store)
    feed.append(publication(1))
    assert feed.since(other.position()) is None
    feed.append(publication(2))
    ahead = feed.position()
    store.delete(entry_key(2))
    rolled_back = Feed(store)
    assert rolled_back.since(ahead) is None
    rolled_back.append(publication(3))  # the same number, another list
    assert rolled_back.since(ahead) is None
    for nonsense in (b"", b"x", b"\xff" * 40, ahead[:-1], ahead + b"x"):
        assert feed.since(nonsense) is None


def test_a_store_that_refuses_leaves_it_to_the_next_call(store, monkeypatch):
    feed = Feed(store)
    put = store.put_if_absent

    def refuse(key: str, data: bytes) -> bool:
        raise StoreError("full")

    monkeypatch.setattr(store, "put_if_absent", refuse)
    with pytest.raises(StoreError):
        feed.append(publication(1))
    monkeypatch.setattr(store, "put_if_absent", put)
    feed.append(publication(1))
    assert len(feed.since(Feed(ObjectStore.open("memory://")).position())) == 1
