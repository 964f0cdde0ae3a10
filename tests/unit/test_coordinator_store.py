"""One set of promises, kept by every store."""

import os
import random
import threading
import time
from abc import ABC, abstractmethod

import pytest

from coordinator import folder_store
from coordinator.errors import StoreError, UsageError
from coordinator.folder_store import FolderStore
from coordinator.object_store import ObjectStore
from coordinator.store import chunk_key, open_url, publication_key, revocations_prefix
from ff_protocol.errors import MalformedError
from tests.s3_server import BUCKET, SECRET, environment, run_s3

DIGEST = "ab" * 32


class StoreContract(ABC):
    clock_seconds = 0.02

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
        assert list(store.list("revocations/")) == [
            "revocations/a/00000009.dsse",
            "revocations/a/00000010.dsse",
            "revocations/b/00000001.dsse",
            "revocations/b/00000002.dsse",
        ]
        assert len(list(store.list(revocations_prefix("a")))) == 2
        assert list(store.list("enrolments/")) == []

    def test_many_are_asked_about_at_once(self, store):
        keys = [chunk_key(f"{number:064x}") for number in range(40)]
        for key in keys[::2]:
            store.put_if_absent(key, b"chunk")
        answers = store.held_many(keys)
        assert list(answers) == keys
        assert [key for key, held in answers.items() if held is not None] == keys[::2]

    def test_what_is_deleted_is_gone_and_can_be_put_again(self, store):
        store.put_if_absent(chunk_key(DIGEST), b"first")
        store.delete(chunk_key(DIGEST))
        store.delete(chunk_key(DIGEST))
        assert store.get(chunk_key(DIGEST)) is None
        assert list(store.scan("chunks/")) == []
        assert store.put_if_absent(chunk_key(DIGEST), b"second")

    def test_times_are_of_the_present_and_refreshing_makes_them_newer(self, store):
        store.put_if_absent(chunk_key(DIGEST), b"chunk")
        before = store.held(chunk_key(DIGEST)).modified
        assert abs(before - time.time()) < 60
        time.sleep(self.clock_seconds)
        assert store.refresh(chunk_key(DIGEST))
        ((key, held),) = store.scan("chunks/")
        assert (key, held.size) == (chunk_key(DIGEST), 5)
        assert held.modified > before
        assert store.get(chunk_key(DIGEST)) == b"chunk"
        assert not store.refresh(chunk_key("00" * 32))

    def test_a_megabyte_passes_unchanged(self, store):
        data = random.Random(1).randbytes(2**20)
        store.put_if_absent(chunk_key(DIGEST), data)
        assert store.get(chunk_key(DIGEST)) == data

    def test_an_issuer_is_not_a_prefix_of_another(self, store):
        store.put_if_absent("revocations/st-anna/00000001.dsse", b"x")
        assert list(store.list(revocations_prefix("st"))) == []


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


class TestS3(StoreContract):
    """Against a server process that speaks S3."""

    clock_seconds = 1.1  # S3 tells whole seconds

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls):
        with run_s3() as variables:
            yield variables

    @pytest.fixture
    def store(self, server, request):
        with environment(server):
            yield open_url(f"s3://{BUCKET}/{abs(hash(request.node.name))}")

    def test_keys_come_from_the_profile_too(self, server, tmp_path, monkeypatch):
        (tmp_path / "credentials").write_text(
            f"[work]\naws_access_key_id = tester\naws_secret_access_key = {SECRET}\n"
        )
        (tmp_path / "config").write_text(
            f"[profile work]\nregion = us-east-1\nendpoint_url = {server['AWS_ENDPOINT_URL']}\n"
        )
        for name in server:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_PROFILE", "work")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        store = open_url(f"s3://{BUCKET}/profile")
        assert store.put_if_absent("spec.dsse", b"x")
        assert store.get("spec.dsse") == b"x"

    def test_no_secret_is_in_what_goes_wrong(self, server):
        with environment({**server, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}):
            store = open_url(f"s3://{BUCKET}")
            with pytest.raises(StoreError) as caught:
                store.get("spec.dsse")
        assert SECRET not in repr(caught.value.__cause__) + str(caught.value)
        assert SECRET not in repr(store._store)


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(UsageError, match="do not belong in the store's URL") as caught:
        open_url(f"s3://tester:{SECRET}@{BUCKET}")
    assert SECRET not in str(caught.value) + str(caught.value.hint)


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


def test_a_writer_that_finishes_while_another_server_tidies_up_stops_nobody(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)
    store.put_if_absent("spec.dsse", b"x")
    temporary = tmp_path / folder_store._TEMPORARY
    abandoned, written = temporary / "abandoned", temporary / "being-written"
    abandoned.touch()
    os.utime(abandoned, (0, 0))
    # Between the listing and the look at it, its writer gave it its final name.
    listed = [written, abandoned]
    monkeypatch.setattr(type(tmp_path), "glob", lambda path, pattern: iter(listed))
    store.remove_abandoned()
    assert not abandoned.exists()
