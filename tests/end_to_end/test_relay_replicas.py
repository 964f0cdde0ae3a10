"""Several coordinators over one store, behind a load balancer that knows nothing of sessions."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from client_agent.errors import IdentityError
from client_agent.relay import sending
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from coordinator.store import chunk_key, open_store
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import make_key
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.manifest import describe_module
from ff_protocol.wire import relay_pb2
from tests.federation import TestFederation, make_federation, make_module
from tests.proxy import run_proxy
from tests.s3_server import BUCKET, SECRET, environment, run_s3

EXAMPLE = Path(__file__).parents[2] / "configs" / "haproxy.example.cfg"
CHUNKS = 12


@pytest.fixture(scope="module", params=["folder", "s3"])
def running(request, tmp_path_factory):
    """Two coordinators over one store."""
    with contextlib.ExitStack() as stack:
        url = None
        if request.param == "s3":
            stack.enter_context(environment(stack.enter_context(run_s3())))
            url = f"s3://{BUCKET}/federation"
        folder = tmp_path_factory.mktemp("federation")
        federation = stack.enter_context(make_federation(folder, serve=False, store=url))
        for number in range(2):
            start(federation, number)
        yield federation


@pytest.fixture
def replicas(running):
    """Both, alive, with nothing in their logs."""
    for number in range(2):
        if running.servers[number].process.poll() is not None:
            start(running, number)
            running.servers[number] = running.servers.pop()
        (running.folder / f"replica-{number}" / "serve.log").write_text("")
    return running


def start(federation, number):
    """Start a replica with a folder of its own: the log tells what went through which."""
    folder = federation.folder / f"replica-{number}"
    folder.mkdir(exist_ok=True)
    replica = TestFederation(folder, federation.home, federation.servers)
    replica.start(arguments=("--log-format", "json"))


def addresses(federation):
    return [("127.0.0.1", server.port) for server in federation.servers]


@contextlib.contextmanager
def run_haproxy(federation, folder):
    """HAProxy with the example's settings and these servers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = EXAMPLE.read_text().replace("bind :7443", f"bind 127.0.0.1:{port}")
    for number, server in enumerate(federation.servers, start=1):
        text = text.replace(f"10.0.0.1{number}:7443", server.endpoint)
    (folder / "haproxy.cfg").write_text(text)
    with (folder / "haproxy.log").open("w") as log:
        command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["haproxy", "round robin"])
def balanced(request, replicas, tmp_path):
    """The address of a load balancer before the two coordinators."""
    if request.param == "round robin":
        with run_proxy(lambda: addresses(replicas)) as proxy:
            yield proxy.endpoint
    elif shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    else:
        with run_haproxy(replicas, tmp_path) as endpoint:
            yield endpoint


def port_of(endpoint):
    """A number that no other test over the same store has."""
    return int(endpoint.rpartition(":")[2])


def relay(federation, site, endpoint, limit=10):
    attempts = Attempts(limit=limit, base_seconds=0.1, cap_seconds=0.5)
    return connect(endpoint, None, federation.trust, site.tls, attempts=attempts)


def chunks_in(federation, entries):
    """Which of these files' chunks the store has."""
    keys = {chunk_key(digest) for entry in entries.values() for digest in entry.chunks}
    return keys & {key for key, _ in open_store(federation.home).scan("chunks/")}


def bytes_received(federation, number):
    """What a replica's log says it has stored in calls that have ended."""
    log = (federation.folder / f"replica-{number}" / "serve.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    return sum(line["bytes_received"] for line in lines if line.get("method") == "PutChunks")


class _EnoughError(Exception):
    pass


def test_chunks_spread_over_two_replicas_and_one_is_killed_midway(
    replicas, balanced, tmp_path, monkeypatch
):
    site, other = replicas.site("sender"), replicas.site("receiver")
    module = make_module(tmp_path / "module", CHUNKS * CHUNK_BYTES, seed=port_of(balanced))
    digest, entries = describe_module(module)
    publication, envelope = site.publication(entries, digest)
    sent = []
    original = sending.ChunkSender._chunks

    left = threading.Event()

    def counting(self, digests):
        for number, chunk in enumerate(original(self, digests)):
            if number == CHUNKS // 2:
                left.wait(60)  # however fast the replicas are, the first sender leaves midway
            sent.append(chunk_key(relay_pb2.Chunk.FromString(chunk).sha256.hex()))
            yield chunk

    monkeypatch.setattr(sending.ChunkSender, "_chunks", counting)

    def leave(done, total):
        if done >= 4 * CHUNK_BYTES:
            raise _EnoughError

    with relay(replicas, site, balanced) as client, pytest.raises(_EnoughError):
        client.send_module(module, envelope, entries, leave)
    left.set()
    for _ in range(200):
        amounts = [bytes_received(replicas, number) for number in (0, 1)]
        if any(amounts):
            break
        time.sleep(0.05)
    assert sorted(amounts)[0] == 0 < sorted(amounts)[1]
    first = amounts.index(max(amounts))
    second = replicas.servers[1 - first]
    held = chunks_in(replicas, entries)
    assert 4 <= len(held) < CHUNKS
    sent.clear()

    def kill(done, total):
        if done >= 8 * CHUNK_BYTES and second.process.poll() is None:
            second.kill()

    with relay(replicas, site, balanced) as client:
        result = client.send_module(module, envelope, entries, kill)
    assert second.process.poll() is not None
    assert not result.already_there
    assert len(chunks_in(replicas, entries)) == result.chunks_total
    assert held.isdisjoint(sent)
    total = sum(entry.size for entry in entries.values())
    assert bytes_received(replicas, first) < total, "the killed replica had stored nothing"
    with relay(replicas, other, balanced) as client:
        assert envelope in client.list_statements(set())
        client.fetch_files(publication, tmp_path / "fetched")
    assert describe_module(tmp_path / "fetched") == (digest, entries)


def test_the_same_module_published_by_two_processes_at_once_is_there_once(replicas, tmp_path):
    site = replicas.site("sender")
    module = make_module(tmp_path / "module", 2 * CHUNK_BYTES, seed=2)
    digest, entries = describe_module(module)
    # Two signatures of the same publication: ECDSA makes them differ.
    envelopes = [site.publication(entries, digest)[1] for _ in range(2)]
    assert envelopes[0] != envelopes[1]
    barrier, answers = threading.Barrier(2), []

    def send(server, envelope):
        with relay(replicas, site, server.endpoint) as client:
            client.publish = meet(client.publish)
            answers.append(client.send_module(module, envelope, entries).already_there)

    def meet(publish):
        def publish_together(envelope):
            barrier.wait(30)
            return publish(envelope)

        return publish_together

    threads = [
        threading.Thread(target=send, args=pair)
        for pair in zip(replicas.servers, envelopes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, True]
    for server in replicas.servers:
        with relay(replicas, site, server.endpoint) as client:
            listed = set(client.list_statements(set()))
            assert len(listed.intersection(envelopes)) == 1


def test_an_invitation_is_single_use_through_the_load_balancer(replicas, balanced):
    invitation = replicas.invitation(f"site-{port_of(balanced)}")
    outcomes = []

    def enrol():
        requests = [make_request(make_key(), invitation.site_id) for _ in range(2)]
        credential = invitation.credential()
        with connect(balanced, None, invitation.trust_root(), credential) as client:
            try:
                client.enrol(*requests)
                outcomes.append("enrolled")
            except IdentityError as error:
                outcomes.append(error.message)

    threads = [threading.Thread(target=enrol) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert outcomes.count("enrolled") == 1


def test_no_secret_of_the_store_is_in_a_log(replicas):
    with relay(replicas, replicas.site("a"), replicas.servers[0].endpoint) as client:
        client.get_federation()
    for log in replicas.folder.rglob("*.log"):
        assert SECRET not in log.read_text()
    assert SECRET not in replicas.home.settings_file.read_text()
