"""Coordinators that die in the middle: nothing acknowledged is lost or sent again."""

import json
import resource
import threading
import time
from contextlib import suppress
from dataclasses import replace

import grpc
import pytest

from client_agent.errors import DataError, NetworkError, RefusedError
from client_agent.module.admission import check_module
from client_agent.relay import sending
from client_agent.relay.calls import StalledError, stream
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from client_agent.relay.translation import DamagedTransferError
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import make_key
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.manifest import describe_module
from tests.federation import make_federation, make_module
from tests.homes import make_authority
from tests.transfer import listed_publications

CHUNKS = 24


@pytest.fixture
def federation(tmp_path):
    with make_federation(tmp_path) as running:
        yield running


@pytest.fixture
def module(tmp_path):
    return make_module(tmp_path / "module", CHUNKS * CHUNK_BYTES, seed=5)


def relay(federation, member, limit=1, endpoint=None):
    return connect(
        endpoint or federation.endpoint,
        None,
        federation.trust,
        member.tls,
        attempts=Attempts(limit=limit, base_seconds=0.2),
    )


def kill_when(server, done_bytes):
    """A progress callback that kills the server as soon as so many bytes have passed."""

    def callback(done, total):
        if done >= done_bytes and server.process.poll() is None:
            server.kill()

    return callback


def stored_chunks(federation):
    return {path.name for path in (federation.home.store_folder / "chunks").rglob("*/*")}


def test_a_killed_coordinator_resumes_without_resending(federation, module, monkeypatch):
    site = federation.site("sender")
    digest, entries = describe_module(module)
    _, envelope = site.publication(entries, digest)
    acknowledged = []
    kill = kill_when(federation.servers[0], 8 * CHUNK_BYTES)

    def watch(done, total):
        acknowledged.append(done)
        kill(done, total)

    with relay(federation, site) as client, pytest.raises(NetworkError) as caught:
        client.send_module(module, envelope, entries, watch)
    assert caught.value.transient
    before = stored_chunks(federation)
    assert len(before) >= acknowledged[-1] // CHUNK_BYTES >= 8
    read = []
    original = sending.ChunkSender._chunks

    def counting(self, digests):
        read.extend(digest.hex() for digest in digests)
        yield from original(self, digests)

    monkeypatch.setattr(sending.ChunkSender, "_chunks", counting)
    federation.start()
    with relay(federation, site) as client:
        result = client.send_module(module, envelope, entries)
    assert not result.already_there
    assert before.isdisjoint(read)
    assert result.chunks_sent == result.chunks_total - len(before) == len(read)


def test_a_restart_within_the_clients_patience_goes_unnoticed(federation, module):
    site = federation.site("sender")
    digest, entries = describe_module(module)
    _, envelope = site.publication(entries, digest)
    server = federation.servers[0]
    killed = threading.Event()

    def restart():
        killed.wait()
        federation.start(server.endpoint)

    thread = threading.Thread(target=restart)
    thread.start()
    kill = kill_when(server, 6 * CHUNK_BYTES)

    def watch(done, total):
        kill(done, total)
        if server.process.poll() is not None:
            killed.set()

    with relay(federation, site, limit=12) as client:
        result = client.send_module(module, envelope, entries, watch)
    thread.join()
    assert not result.already_there
    assert len(stored_chunks(federation)) == result.chunks_total


def test_a_broken_download_goes_on_from_whole_chunks(federation, module, tmp_path):
    site, other = federation.site("sender"), federation.site("receiver")
    publication, envelope = site.publication_of(module)
    with relay(federation, site) as client:
        client.send_module(module, envelope, publication.files)
    target = tmp_path / "fetched"
    kill = kill_when(federation.servers[0], 8 * CHUNK_BYTES)
    with relay(federation, other) as client, pytest.raises(NetworkError):
        client.fetch_files(publication, target, kill)
    part = target / "module.onnx.part"
    here = part.stat().st_size // CHUNK_BYTES
    assert 0 < here < CHUNKS
    with part.open("ab") as stream:
        stream.write(b"half a chunk")
    federation.start()
    with relay(federation, other) as client:
        client.fetch_files(publication, target)
        assert client.bytes_received <= (CHUNKS - here) * CHUNK_BYTES + 1000
        assert client.bytes_received >= (CHUNKS - here) * CHUNK_BYTES
    assert describe_module(target) == describe_module(module)


def test_two_servers_over_one_store_are_one_coordinator(federation, module, tmp_path):
    site, other = federation.site("sender"), federation.site("receiver")
    digest, entries = describe_module(module)
    publication, envelope = site.publication(entries, digest)
    first = federation.servers[0]
    second = federation.start()
    with (
        relay(federation, site, endpoint=first.endpoint) as client,
        pytest.raises(NetworkError),
    ):
        client.send_module(module, envelope, entries, kill_when(first, 4 * CHUNK_BYTES))
    with relay(federation, site, endpoint=second.endpoint) as client:
        result = client.send_module(module, envelope, entries)
        assert result.chunks_sent <= result.chunks_total - 4
    third = federation.start()
    second.kill()
    with relay(federation, other, endpoint=third.endpoint) as client:
        assert listed_publications(client) == [envelope]
        client.fetch_files(publication, tmp_path / "fetched")
    assert describe_module(tmp_path / "fetched")[0] == digest


def test_an_invitation_is_single_use_across_servers(federation):
    invitation = federation.invitation("st-anna")
    endpoints = [federation.servers[0].endpoint, federation.start().endpoint] * 3
    outcomes = []

    def enrol(endpoint):
        requests = [make_request(make_key(), "st-anna") for _ in range(2)]
        with connect(endpoint, None, invitation.trust_root(), invitation.credential()) as client:
            try:
                client.enrol(*requests)
                outcomes.append("enrolled")
            except Exception as error:
                outcomes.append(error.message)

    threads = [threading.Thread(target=enrol, args=(endpoint,)) for endpoint in endpoints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 6
    assert outcomes.count("enrolled") == 1


def test_sigterm_lets_a_running_call_end(federation, module):
    site = federation.site("sender")
    digest, entries = describe_module(module)
    _, envelope = site.publication(entries, digest)
    server = federation.servers[0]
    codes = []

    def stop(done, total):
        if not codes and done >= 2 * CHUNK_BYTES:
            codes.append(threading.Thread(target=lambda: codes.append(server.stop())))
            codes[0].start()

    with relay(federation, site) as client, suppress(NetworkError):
        client.send_module(module, envelope, entries, stop)
    codes[0].join()
    assert codes[1] == 0
    assert len(stored_chunks(federation)) == CHUNKS + 2


def test_a_damaged_chunk_in_the_store_is_noticed_and_kept_out(federation, module, tmp_path):
    site = federation.site("sender")
    publication, envelope = site.publication_of(module)
    with relay(federation, site) as client:
        client.send_module(module, envelope, publication.files)
    chunk = publication.files["module.onnx"].chunks[3]
    path = federation.home.store_folder / "chunks" / chunk[:2] / chunk
    whole = path.read_bytes()
    path.write_bytes(b"x" + whole[1:])
    target = tmp_path / "fetched"
    with relay(federation, site) as client, pytest.raises(DamagedTransferError, match="chunk 3"):
        client.fetch_files(publication, target)
    path.unlink()
    with relay(federation, site) as client, pytest.raises(DamagedTransferError, match="not here"):
        client.fetch_files(publication, target)
    path.write_bytes(whole)
    with relay(federation, site) as client:
        client.fetch_files(publication, target)
    assert describe_module(target) == describe_module(module)


def test_a_file_that_changes_while_it_is_sent_is_noticed(federation, module):
    site = federation.site("sender")
    digest, entries = describe_module(module)
    _, envelope = site.publication(entries, digest)
    (module / "card.json").write_bytes(b"changed ")
    with relay(federation, site) as client, pytest.raises(DataError, match="changed"):
        client.send_module(module, envelope, entries)


def test_a_link_planted_in_the_folder_is_not_followed(federation, tmp_path):
    site = federation.site("sender")
    module = make_module(tmp_path / "small", 1000)
    publication, envelope = site.publication_of(module)
    target, outside = tmp_path / "fetched", tmp_path / "outside"
    outside.write_bytes(b"precious")
    target.mkdir()
    (target / "module.onnx.part").symlink_to(outside)
    with relay(federation, site) as client:
        client.send_module(module, envelope, publication.files)
        with pytest.raises(Exception, match="cannot write"):
            client.fetch_files(publication, target)
    assert outside.read_bytes() == b"precious"


def test_a_publication_that_contradicts_itself_is_refused(federation, tmp_path):
    site = federation.site("sender")
    module = make_module(tmp_path / "small", 1000)
    publication, envelope = site.publication_of(module)
    files = dict(publication.files)
    files["card.json"] = replace(files["card.json"], sha256="0" * 64)
    lying = replace(publication, files=files)
    with relay(federation, site) as client:
        client.send_module(module, envelope, publication.files)
        client.fetch_files(lying, tmp_path / "fetched")
    with pytest.raises(RefusedError, match="not the ones published"):
        check_module(tmp_path / "fetched", lying, make_authority().join(tmp_path / "home", "a"))


def test_nobody_there_is_said_quickly_and_clearly(federation):
    site = federation.site("sender")
    endpoint = federation.endpoint
    federation.servers[0].kill()
    started = time.monotonic()
    with (
        pytest.raises(NetworkError, match=f"coordinator {endpoint} is not reachable: connection"),
        connect(endpoint, None, federation.trust, site.tls),
    ):
        pytest.fail("connected")
    assert time.monotonic() - started < 15


def test_a_stalled_stream_ends(federation):
    class Silent:
        def __init__(self):
            self.cancelled = threading.Event()

        def __iter__(self):
            return self

        def __next__(self):
            self.cancelled.wait(5)
            raise grpc.RpcError

        def cancel(self):
            self.cancelled.set()

    with pytest.raises(StalledError):
        next(stream(Silent, 0.05))


def test_a_full_store_is_said_clearly_and_loses_nothing(federation, module):
    """A limit on file sizes (EFBIG) stands in for a full disk: same path, no mounting."""
    site = federation.site("sender")
    digest, entries = describe_module(module)
    _, envelope = site.publication(entries, digest)
    server = federation.servers[0]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
    with (
        relay(federation, site) as client,
        pytest.raises(NetworkError, match="store is full or not writable"),
    ):
        client.send_module(module, envelope, entries)
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    with relay(federation, site) as client:
        assert not client.send_module(module, envelope, entries).already_there
    assert list((federation.home.store_folder / ".new").iterdir()) == []


def test_the_log_has_one_json_line_a_call_without_secrets(tmp_path):
    with make_federation(tmp_path, serve=False) as federation:
        federation.start(arguments=("--log-format", "json"))
        with relay(federation, federation.site("a")) as client:
            client.get_federation()
        assert federation.servers[0].stop() == 0
    lines = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines()]
    (call,) = (line for line in lines if line["message"] == "call")
    assert (call["method"], call["site"], call["outcome"]) == ("GetFederation", "a", "OK")
    assert {"time", "level", "milliseconds", "bytes_sent"} <= set(call)
    assert lines[0]["message"].startswith("listening on 127.0.0.1:")
