"""doctor, gc, expel and status on the command line."""

import os
import time

import pytest

from coordinator.authority import found
from coordinator.doctor import examine
from coordinator.folder_store import FolderStore
from coordinator.home import CoordinatorHome
from coordinator.store import COLLECTION_KEY, chunk_key, open_store
from ff_protocol.certificates import Credential, make_key
from ff_protocol.clock import utc_now
from ff_protocol.errors import ExitCode
from ff_protocol.spec import parse_spec
from tests.federation import SPEC
from tests.unit.test_coordinator_commands import run


@pytest.fixture
def home(tmp_path):
    made = CoordinatorHome(tmp_path / "home")
    found(made, "test", parse_spec(SPEC), now=utc_now())
    return made


def wrong(home):
    return {check.name: check for check in examine(home, utc_now()) if not check.ok}


def test_a_new_federation_is_healthy_and_nothing_is_left_behind(home):
    before = sorted(home.root.rglob("*"))
    code, document = run("doctor", "--home", home.root)
    assert (code, document["healthy"]) == (0, True)
    assert len(document["checks"]) == 10
    after = [path for path in sorted(home.root.rglob("*")) if path not in before]
    assert all(path.is_dir() for path in after), after


def test_a_missing_home_is_said_and_nothing_else_is_asked(tmp_path):
    code, document = run("doctor", "--home", tmp_path / "nowhere")
    assert (code, document["healthy"]) == (ExitCode.NOT_READY, False)
    assert [check["name"] for check in document["checks"]] == ["home"]
    assert "ff-coordinator init" in document["checks"][0]["hint"]


def test_a_key_that_others_can_read_is_named(home):
    home.key("issuing").chmod(0o644)
    assert "issuing.key" in wrong(home)["keys"].detail


def test_a_certificate_for_another_key_is_named(home):
    home.write_credential("server", Credential(make_key(), home.credential("server").chain))
    assert "for another key" in wrong(home)["keys"].detail
    code, _ = run("doctor", "--home", home.root)
    assert code == ExitCode.IDENTITY


def test_an_expired_certificate_is_named(home):
    later = home.credential("server").leaf.not_valid_after_utc.replace(year=2090)
    found_wrong = {check.name for check in examine(home, later) if not check.ok}
    assert found_wrong == {"server certificate", "issuing certificate"}


def test_the_store_of_another_federation_is_named(home, tmp_path):
    other = CoordinatorHome(tmp_path / "other")
    found(other, "other", parse_spec(SPEC), now=utc_now())
    (other.store_folder / "spec.dsse").write_bytes((home.store_folder / "spec.dsse").read_bytes())
    assert "another federation" in wrong(other)["federation in the store"].detail


def test_a_store_that_cannot_be_reached_is_named(home, monkeypatch):
    text = home.settings_file.read_text().replace("store: null", "store: s3://bucket/x")
    home.settings_file.write_text(text)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tester")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert list(wrong(home)) == ["store"]


def test_a_store_that_replaces_objects_is_named(home, monkeypatch):
    """As an S3 server does that ignores If-None-Match."""

    def replace(self, key, data):
        self._path(key).parent.mkdir(parents=True, exist_ok=True)
        self._path(key).write_bytes(data)
        return True

    monkeypatch.setattr(FolderStore, "put_if_absent", replace)
    assert "replaces objects" in wrong(home)["store writes"].detail


def test_a_clock_that_is_wrong_is_named(home, monkeypatch):
    original = FolderStore.held

    def later(self, key):
        held = original(self, key)
        return held and type(held)(held.size, held.modified + 300)

    monkeypatch.setattr(FolderStore, "held", later)
    assert "300 s apart" in wrong(home)["store clock"].detail


def test_gc_says_first_and_does_then(home):
    store = open_store(home)
    key = chunk_key("ab" * 32)
    store.put_if_absent(key, b"never published")
    then = time.time() - 30 * 86400
    os.utime(home.store_folder / key, (then, then))
    code, document = run("gc", "--home", home.root, "--dry-run")
    assert (code, document["unpublished_chunks"], document["bytes"]) == (0, 1, 15)
    assert store.held(key) is not None
    code, document = run("gc", "--home", home.root)
    assert (code, document["unpublished_chunks"]) == (0, 1)
    assert store.held(key) is None
    code, document = run("gc", "--home", home.root, "--grace", "1h")
    assert (code, document["error_code"]) == (ExitCode.USAGE, "usage")


def test_two_collections_at_once_are_refused_with_a_code_for_later(home):
    store = open_store(home)
    key = chunk_key("ab" * 32)
    store.put_if_absent(key, b"never published")
    then = time.time() - 30 * 86400
    os.utime(home.store_folder / key, (then, then))
    store.put_if_absent(COLLECTION_KEY, b"other")
    code, document = run("gc", "--home", home.root)
    assert (code, document["error_code"]) == (ExitCode.TIMEOUT, "busy")


def test_expel_is_seen_in_status_and_can_be_undone(home):
    assert run("expel", "hospital-1", "--reason", "left", "--home", home.root)[0] == 0
    code, document = run("expel", "hospital-1", "--home", home.root)
    assert (code, document["already"]) == (0, True)
    _, status = run("status", "--home", home.root)
    (expelled,) = status["expelled"]
    assert (expelled["site"], expelled["reason"]) == ("hospital-1", "left")
    assert run("expel", "hospital-1", "--undo", "--home", home.root)[1]["expelled"] is False
    assert run("status", "--home", home.root)[1]["expelled"] == []
    assert run("expel", "../x", "--home", home.root)[0] == ExitCode.REFUSED


def test_status_counts_what_the_store_holds(home):
    open_store(home).put_if_absent(chunk_key("cd" * 32), b"12345")
    code, status = run("status", "--home", home.root)
    assert (code, status["chunks"], status["chunk_bytes"]) == (0, 1, 5)
    assert status["server_certificate_days"] > 390
    assert status["collection_running"] is False
