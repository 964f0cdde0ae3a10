"""Running a coordinator: health, reflection, metrics, logs, draining, reloading, limits."""

import contextlib
import hashlib
import json
import logging
import signal
import socket
import ssl
import threading
import time
import urllib.request

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from coordinator.calls import REQUEST_ID, Limits
from coordinator.errors import ListenError
from coordinator.membership import expel, readmit
from coordinator.server import SERVICES, Server
from coordinator.store import open_store
from ff_protocol.certificates import (
    TLS_LIFETIME,
    Credential,
    Purpose,
    chain_to_pem,
    issue_leaf,
    key_to_pem,
    make_key,
)
from ff_protocol.clock import utc_now
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.names import Identity, Role
from ff_protocol.tls import CLIENT_OPTIONS
from ff_protocol.wire import relay_pb2, relay_pb2_grpc
from tests.federation import make_federation

NOTHING = relay_pb2.GetFederationRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation"), serve=False) as founded:
        yield founded


@pytest.fixture(scope="module")
def member(federation):
    return federation.site("hospital-1")


@contextlib.contextmanager
def in_process(federation, **limits):
    """A server of the federation in this process."""
    server = Server(federation.home, "127.0.0.1:0", limits=Limits(**limits))
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


@contextlib.contextmanager
def channel_to(endpoint, federation, member):
    """A connection that waits for nothing and is this test's own."""
    credentials = grpc.ssl_channel_credentials(
        chain_to_pem((federation.trust.certificate,)),
        key_to_pem(member.tls.key),
        chain_to_pem(member.tls.chain),
    )
    options = (*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    with grpc.secure_channel(endpoint, credentials, options=options) as channel:
        yield channel


def chunk(number, size=CHUNK_BYTES):
    data = number.to_bytes(4, "big") * (size // 4)
    return relay_pb2.Chunk(sha256=hashlib.sha256(data).digest(), data=data)


def stored(relay, numbers):
    """Store chunks; return the request for them."""
    chunks = [chunk(number) for number in numbers]
    assert len(list(relay.PutChunks(iter(chunks), timeout=60))) == len(chunks)
    return relay_pb2.GetChunksRequest(sha256=[item.sha256 for item in chunks])


def until(condition, seconds=20.0):
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Silence:
    """A stream of requests that goes on when the test says so."""

    def __init__(self, *first):
        self._first = list(first)
        self.end = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        if self._first:
            return self._first.pop(0)
        self.end.wait()
        raise StopIteration


# Looking at it


def test_health_and_reflection_answer(federation, member):
    with (
        in_process(federation) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES):
            request = health_pb2.HealthCheckRequest(service=service)
            assert health.Check(request, timeout=10).status == SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=10)
        names = {service.name for service in answer.list_services_response.service}
    assert set(SERVICES) < names
    assert "grpc.health.v1.Health" in names


def samples(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_tell_what_happened(federation, member):
    with (
        in_process(federation) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        address = server.metrics.serve("127.0.0.1:0")
        relay = relay_pb2_grpc.RelayStub(channel)
        wanted = stored(relay, [101, 102])
        assert len(list(relay.GetChunks(wanted, timeout=30))) == 2
        with pytest.raises(grpc.RpcError):
            list(relay.GetChunks(relay_pb2.GetChunksRequest(sha256=[bytes(32)]), timeout=30))
        waiting = Silence()
        call = relay.PutChunks(waiting)
        until(lambda: samples(address).get(("ff_open_streams", "PutChunks")) == 1)
        waiting.end.set()
        assert list(call) == []
        until(lambda: samples(address)["ff_open_streams", "PutChunks"] == 0)
        seen = samples(address)
    assert seen["ff_bytes_total", "received"] == seen["ff_bytes_total", "sent"] == 2 * CHUNK_BYTES
    assert seen["ff_transfers_total", "OK", "received"] == 2
    assert seen["ff_transfers_total", "OK", "sent"] == 1
    assert seen["ff_transfers_total", "NOT_FOUND", "sent"] == 1
    assert seen["ff_errors_total", "missing_chunk"] == 1
    # Two chunks, and what the site took out of its allowance for the day.
    assert seen["ff_store_seconds_count", "put"] == 3
    left = seen["ff_certificate_expiry_seconds", "server"] - time.time()
    assert TLS_LIFETIME.total_seconds() - 3600 < left <= TLS_LIFETIME.total_seconds()
    assert seen["process_resident_memory_bytes",] > 0


def test_a_request_id_leads_from_the_client_to_the_log(federation, member, caplog):
    caplog.set_level(logging.INFO, logger="coordinator.calls")
    with (
        in_process(federation) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        relay = relay_pb2_grpc.RelayStub(channel)
        _, good = relay.GetFederation.with_call(NOTHING, timeout=10)
        with pytest.raises(grpc.RpcError) as refused:
            relay.Publish(relay_pb2.PublishRequest(envelope=b"{}"), timeout=10)
        ids = [dict(call.trailing_metadata())[REQUEST_ID] for call in (good, refused.value)]
    assert len(set(ids)) == 2
    logged = {record.request_id: record for record in caplog.records}
    assert [logged[label].method for label in ids] == ["GetFederation", "Publish"]
    assert logged[ids[1]].reason.startswith("malformed: ")


def test_a_taken_metrics_port_is_said_clearly(federation):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        in_process(federation) as server,
        pytest.raises(ListenError, match="cannot serve metrics"),
    ):
        server.metrics.serve(f"127.0.0.1:{taken.getsockname()[1]}")


def test_probes_without_a_certificate_learn_the_health_and_nothing_else(federation):
    request = health_pb2.HealthCheckRequest()
    with in_process(federation) as server:
        with grpc.insecure_channel(server.serve_health("127.0.0.1:0")) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(request, timeout=10).status == SERVING
            with pytest.raises(grpc.RpcError) as refused:
                relay_pb2_grpc.RelayStub(channel).GetFederation(NOTHING, timeout=10)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
            watched = health.Watch(request, timeout=10)
            assert next(watched).status == SERVING
            server.stop(0)
            assert next(watched).status == NOT_SERVING
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            pytest.raises(ListenError) as unusable,
        ):
            server.serve_health(f"127.0.0.1:{taken.getsockname()[1]}")
        assert "--health" in unusable.value.hint


# Stopping


def test_sigterm_drains(federation, member):
    server = federation.start(arguments=("--grace", "60"))
    with channel_to(server.endpoint, federation, member) as channel:
        relay, health = relay_pb2_grpc.RelayStub(channel), health_pb2_grpc.HealthStub(channel)
        wanted = stored(relay, range(200, 212))
        watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watched).status == SERVING
        download = relay.GetChunks(wanted, timeout=60)
        next(download)
        server.process.send_signal(signal.SIGTERM)
        assert next(watched).status == NOT_SERVING
        with (
            channel_to(server.endpoint, federation, member) as other,
            pytest.raises(grpc.RpcError) as refused,
        ):
            relay_pb2_grpc.RelayStub(other).GetFederation(NOTHING, timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.process.poll() is None, "it did not wait for the download"
        assert len(list(download)) == 11
    assert server.process.wait(timeout=20) == 0
    assert "calls still ran" not in (federation.folder / "serve.log").read_text()


def test_the_grace_ends(federation, member):
    with (
        in_process(federation) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        relay = relay_pb2_grpc.RelayStub(channel)
        call = relay.PutChunks(Silence(chunk(1)))
        next(call)
        assert server.stop(0.3) is False
        with pytest.raises(grpc.RpcError):
            next(call)


# Reloading


def shown_serial(endpoint, federation, member, folder):
    """Serial number of the certificate that the server shows to a new connection."""
    (folder / "tls.pem").write_bytes(chain_to_pem(member.tls.chain) + key_to_pem(member.tls.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(folder / "tls.pem")
    context.load_verify_locations(cadata=chain_to_pem((federation.trust.certificate,)).decode())
    context.set_alpn_protocols(["h2"])
    host, _, port = endpoint.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def new_server_certificate(federation):
    key = make_key()
    chain = issue_leaf(
        federation.home.credential("issuing"),
        key.public_key(),
        Identity(federation.trust.federation_id, Role.COORDINATOR),
        Purpose.TLS_SERVER,
        now=utc_now(),
        lifetime=TLS_LIFETIME,
        hosts=federation.home.settings().hosts,
    )
    return Credential(key, chain)


def test_a_new_certificate_is_shown_without_dropping_a_connection(federation, member, tmp_path):
    server = federation.start()
    with channel_to(server.endpoint, federation, member) as channel:
        relay = relay_pb2_grpc.RelayStub(channel)
        upload = Silence(chunk(1))
        call = relay.PutChunks(upload)
        next(call)
        before = shown_serial(server.endpoint, federation, member, tmp_path)
        renewed = new_server_certificate(federation)
        federation.home.write_credential("server", renewed)
        server.process.send_signal(signal.SIGHUP)
        log = federation.folder / "serve.log"
        until(lambda: "certificate reloaded" in log.read_text())
        after = shown_serial(server.endpoint, federation, member, tmp_path)
        assert after == renewed.leaf.serial_number != before
        upload.end.set()
        assert list(call) == []
        assert call.code() == grpc.StatusCode.OK
    assert server.stop() == 0


def test_a_changed_file_is_enough_and_a_wrong_one_is_not_used(federation, member, tmp_path):
    with in_process(federation) as server:
        good = new_server_certificate(federation)
        federation.home.write_credential("server", good)
        shown = shown_serial(server.endpoint, federation, member, tmp_path)
        assert shown == good.leaf.serial_number
        other_key = Credential(make_key(), new_server_certificate(federation).chain)
        federation.home.write_credential("server", other_key)
        try:
            shown = shown_serial(server.endpoint, federation, member, tmp_path)
            assert shown == good.leaf.serial_number
        finally:
            federation.home.write_credential("server", good)


# Who is served


def test_an_expelled_site_is_refused_everywhere_at_once(federation, member):
    store = open_store(federation.home)
    bad = federation.site("hospital-bad")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(in_process(federation)) for _ in range(2)]
        channels = [
            stack.enter_context(channel_to(server.endpoint, federation, bad)) for server in servers
        ]
        relays = [relay_pb2_grpc.RelayStub(channel) for channel in channels]
        for relay in relays:
            relay.GetFederation(NOTHING, timeout=10)
        running = relays[0].PutChunks(Silence(chunk(1)))
        next(running)
        assert expel(store, "hospital-bad", "a test", utc_now())
        with pytest.raises(grpc.RpcError):
            next(running)

        def codes():
            found = set()
            for relay in relays:
                try:
                    relay.GetFederation(NOTHING, timeout=10)
                    found.add(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    found.add(error.code())
            return found

        until(lambda: codes() == {grpc.StatusCode.PERMISSION_DENIED}, seconds=10)
        with channel_to(servers[0].endpoint, federation, member) as channel:
            relay_pb2_grpc.RelayStub(channel).GetFederation(NOTHING, timeout=10)
        assert readmit(store, "hospital-bad")
        until(lambda: codes() == {grpc.StatusCode.OK}, seconds=10)


def test_an_expelled_site_cannot_enrol_again(federation):
    store = open_store(federation.home)
    expel(store, "hospital-gone", "a test", utc_now())
    identity = Identity(federation.trust.federation_id, Role.INVITATION, "hospital-gone")
    invited = federation.site("hospital-gone")
    invited = type(invited)(
        invited.name,
        invited.trust,
        federation.credential(identity, Purpose.TLS_CLIENT),
        invited.signing,
    )
    with (
        in_process(federation) as server,
        channel_to(server.endpoint, federation, invited) as channel,
        pytest.raises(grpc.RpcError, match="has been expelled"),
    ):
        relay_pb2_grpc.EnrolmentStub(channel).Enrol(relay_pb2.EnrolRequest(), timeout=10)


def test_one_site_cannot_take_every_place(federation, member):
    other = federation.site("hospital-2")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(in_process(federation, site_calls=2))
        mine, theirs = (
            relay_pb2_grpc.RelayStub(
                stack.enter_context(channel_to(server.endpoint, federation, site))
            )
            for site in (member, other)
        )
        uploads = [Silence(chunk(1)) for _ in range(2)]
        calls = [mine.PutChunks(upload) for upload in uploads]
        for call in calls:
            next(call)
        with pytest.raises(grpc.RpcError, match="2 calls at once") as refused:
            mine.GetFederation(NOTHING, timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        theirs.GetFederation(NOTHING, timeout=10)
        for upload, call in zip(uploads, calls, strict=True):
            upload.end.set()
            assert list(call) == []
        mine.GetFederation(NOTHING, timeout=10)


def test_transfers_are_bounded(federation, member):
    with (
        in_process(federation, transfers=1) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        relay = relay_pb2_grpc.RelayStub(channel)
        first = relay.PutChunks(Silence(chunk(1)))
        next(first)
        with pytest.raises(grpc.RpcError, match="as many transfers as it can"):
            list(relay.PutChunks(iter([chunk(2)]), timeout=10))
        relay.GetFederation(NOTHING, timeout=10)


def test_an_upload_that_stands_still_is_ended_and_one_that_moves_is_not(federation, member):
    with (
        in_process(federation, stall_seconds=1.0) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        relay = relay_pb2_grpc.RelayStub(channel)
        stalled = relay.PutChunks(Silence(chunk(1)))
        next(stalled)

        def slowly():
            for number in range(12):
                time.sleep(0.2)
                yield chunk(number, 1024)

        moving = relay.PutChunks(slowly())
        assert len(list(moving)) == 12
        with pytest.raises(grpc.RpcError) as ended:
            next(stalled)
        assert ended.value.code() == grpc.StatusCode.CANCELLED
        count = server.metrics.registry.get_sample_value
        until(lambda: count("ff_errors_total", {"reason": "stalled"}) == 1)
        assert count("ff_open_streams", {"method": "PutChunks"}) == 0


def test_a_download_that_nobody_reads_is_ended(federation, member):
    with (
        in_process(federation, stall_seconds=0.5) as server,
        channel_to(server.endpoint, federation, member) as channel,
    ):
        relay = relay_pb2_grpc.RelayStub(channel)
        wanted = stored(relay, range(300, 316))
        unread = relay.GetChunks(wanted)
        next(unread)
        count = server.metrics.registry.get_sample_value
        until(lambda: count("ff_errors_total", {"reason": "stalled"}) == 1)
        assert count("ff_open_streams", {"method": "GetChunks"}) == 0
        with pytest.raises(grpc.RpcError):
            list(unread)


def test_the_log_names_the_request(tmp_path):
    with make_federation(tmp_path, serve=False) as federation:
        server = federation.start(arguments=("--log-format", "json"))
        with channel_to(server.endpoint, federation, federation.site("a")) as channel:
            relay_pb2_grpc.RelayStub(channel).GetFederation(NOTHING, timeout=10)
        assert server.stop() == 0
    lines = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines()]
    (call,) = (line for line in lines if line["message"] == "call")
    assert len(call["request_id"]) == 16
