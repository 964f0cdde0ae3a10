"""One set of promises, kept by every store."""

import threading
from abc import ABC, abstractmethod

import pytest

from coordinator.errors import StoreError, UsageError
from coordinator.folder_store import FolderStore
from coordinator.object_store import ObjectStore
from coordinator.store import chunk_key, list_keys, open_url, publication_key, revocations_prefix
from ff_protocol.errors import MalformedError

DIGEST = "ab" * 32


class StoreContract(ABC):
    @pytest.fixture
    @abstractmethod
    def store(self, tmp_path): ...

    def test_what_was_put_is_there(self, store):
        assert store.get("spec.dsse") is None
        assert store.held("spec.dsse") is None
        assert store.put_if_absent("spec.dsse", b"spec")
        assert store.get("spec.dsse") == b"spec"
        assert store.held("spec.dsse").size == 4

    def test_nothing_is_ever_replaced(self, store):
        assert store.put_if_absent(chunk_key(DIGEST), b"first")
        assert not store.put_if_absent(chunk_key(DIGEST), b"second")
        assert store.get(chunk_key(DIGEST)) == b"first"

    def test_of_many_at_once_one_wins(self, store):
        results = []
        key = publication_key(DIGEST)

        def put(number):
            results.append((store.put_if_absent(key, b"%d" % number), b"%d" % number))

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [data for created, data in results if created]
        assert store.get(key) == winner

    def test_listing_is_ordered_and_within_the_prefix(self, store):
        for issuer, sequence in (("b", 2), ("a", 10), ("b", 1), ("a", 9)):
            store.put_if_absent(f"revocations/{issuer}/{sequence:08d}.dsse", b"x")
        store.put_if_absent(publication_key(DIGEST), b"x")
        assert list(list_keys(store, "revocations/")) == [
            "revocations/a/00000009.dsse",
            "revocations/a/00000010.dsse",
            "revocations/b/00000001.dsse",
            "revocations/b/00000002.dsse",
        ]
        assert len(list(list_keys(store, revocations_prefix("a")))) == 2
        assert list(list_keys(store, "enrolments/")) == []

    def test_an_issuer_is_not_a_prefix_of_another(self, store):
        store.put_if_absent("revocations/st-anna/00000001.dsse", b"x")
        assert list(list_keys(store, revocations_prefix("st"))) == []


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return open_url("memory:///")


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return FolderStore(tmp_path / "store")

    @pytest.mark.parametrize(
        "key", ["../outside", "/etc/passwd", "a/../b", "", ".new/x", "a//b", "a\0b", "A"]
    )
    def test_no_key_leaves_the_folder(self, store, key):
        with pytest.raises(StoreError, match="not a key"):
            store.put_if_absent(key, b"x")

    def test_what_cannot_be_written_is_said_clearly(self, store, tmp_path):
        (tmp_path / "store").write_bytes(b"a file where a folder must be")
        with pytest.raises(StoreError, match="cannot write"):
            store.put_if_absent("spec.dsse", b"x")

    def test_nothing_is_left_behind(self, store, tmp_path):
        store.put_if_absent("spec.dsse", b"x")
        assert list((tmp_path / "store" / ".new").iterdir()) == []


class TestObstoreFolder(StoreContract):
    """The URL path of S3 and its like, on the only such store that needs no network."""

    @pytest.fixture
    def store(self, tmp_path):
        from obstore.store import LocalStore

        return ObjectStore(LocalStore(tmp_path))


def test_two_processes_share_a_folder_by_url(tmp_path):
    open_url(tmp_path.as_uri()).put_if_absent("spec.dsse", b"x")
    assert FolderStore(tmp_path).get("spec.dsse") == b"x"


@pytest.mark.parametrize("url", ["folder", "nonsense://x", "s3:"])
def test_unknown_urls_are_refused(url):
    with pytest.raises(UsageError, match="store"):
        open_url(url)


@pytest.mark.parametrize("digest", ["", "../x", "AB" * 32, "ab" * 31])
def test_keys_are_made_of_checked_names_only(digest):
    with pytest.raises(MalformedError):
        chunk_key(digest)
    with pytest.raises(MalformedError):
        revocations_prefix("../x")
