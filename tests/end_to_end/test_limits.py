"""Limits at a real coordinator: what is refused says which limit, and the agent says it again."""

import contextlib
import socket
import time
from unittest.mock import Mock

import grpc
import pytest

from benchmarks.flood import Stage
from client_agent.errors import NetworkError, RefusedError
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from coordinator.calls import AGAIN_AFTER, LIMIT, Calls, Limits
from coordinator.membership import Membership
from coordinator.metrics import Metrics
from coordinator.quotas import Quotas
from coordinator.server import Server
from coordinator.store import open_url
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import Purpose, make_key
from ff_protocol.errors import ExitCode
from ff_protocol.limits import KIB, MIB
from ff_protocol.names import Identity, Role
from ff_protocol.tls import MAX_MESSAGE_BYTES
from ff_protocol.wire import relay_pb2, relay_pb2_grpc
from tests.end_to_end.test_coordinator_operations import NOTHING, channel_to
from tests.federation import make_federation, make_module


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation"), serve=False) as founded:
        yield founded


@contextlib.contextmanager
def serving(federation, quotas=None, **limits):
    server = Server(
        federation.home, "127.0.0.1:0", limits=Limits(quotas=quotas or Quotas(), **limits)
    )
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


def relay(server, federation, site, attempts=1):
    return connect(
        server.endpoint, None, federation.trust, site.tls, attempts=Attempts(limit=attempts)
    )


def test_a_site_that_has_sent_its_share_is_refused_and_the_agent_says_which_limit(
    federation, tmp_path
):
    site = federation.site("hospital-greedy")
    module = make_module(tmp_path / "module", 20 * MIB)
    publication, envelope = site.publication_of(module)
    with (
        serving(federation, Quotas(day_bytes=16 * MIB)) as server,
        relay(server, federation, site, attempts=9) as client,
    ):
        started = time.monotonic()
        with pytest.raises(RefusedError, match="limit site-mebibytes") as refused:
            client.send_module(module, envelope, publication.files)
        assert "tomorrow" in refused.value.message
        assert refused.value.exit_code == ExitCode.REFUSED
        assert time.monotonic() - started < 60  # it is not tried again
        assert client.get_federation().protocol_version  # it is still served
    with (
        serving(federation, Quotas(day_bytes=16 * MIB)) as other,
        relay(other, federation, site) as client,
        pytest.raises(RefusedError, match="limit site-mebibytes"),
    ):
        client.send_module(module, envelope, publication.files)


def test_a_module_too_many_is_refused_and_leaves_no_trace(federation, tmp_path):
    site = federation.site("hospital-prolific")
    with (
        serving(federation, Quotas(modules=1)) as server,
        relay(server, federation, site) as client,
    ):
        for number in range(2):
            module = make_module(tmp_path / str(number), 1000, seed=number)
            publication, envelope = site.publication_of(module)
            if number == 0:
                client.send_module(module, envelope, publication.files)
                continue
            with pytest.raises(RefusedError, match="limit site-modules"):
                client.send_module(module, envelope, publication.files)
            assert envelope not in list(client.list_statements(set()))
        # A withdrawn module makes room.
        first, _ = site.publication_of(tmp_path / "0")
        client.publish(site.revocation((first.module,))[1])
        client.send_module(module, envelope, publication.files)


def test_calls_beyond_the_rate_are_told_when_to_come_again_and_the_agent_does(federation):
    site = federation.site("hospital-busy")
    with serving(federation, Quotas(minute_calls=120)) as server:
        with channel_to(server.endpoint, federation, site) as channel:
            stub = relay_pb2_grpc.RelayStub(channel)

            def ask():
                for _ in range(200):
                    stub.GetFederation(NOTHING, timeout=10)

            with pytest.raises(grpc.RpcError, match="limit site-calls-per-minute") as refused:
                ask()
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        metadata = dict(refused.value.trailing_metadata())
        assert metadata[LIMIT] == "site-calls-per-minute"
        assert 0 < float(metadata[AGAIN_AFTER]) < 1
        with relay(server, federation, site, attempts=20) as client:
            assert client.get_federation().protocol_version


def test_an_invitation_cannot_be_hammered(federation):
    """Calls with a used invitation count like any other of its site's."""
    identity = Identity(federation.trust.federation_id, Role.INVITATION, "hospital-new")
    credential = federation.credential(identity, Purpose.TLS_CLIENT)

    def hammer(client):
        for _ in range(8):
            with contextlib.suppress(RefusedError):
                client.enrol(make_request(make_key(), "x"), b"not a request")

    with (
        serving(federation, Quotas(minute_calls=5)) as server,
        connect(
            server.endpoint, None, federation.trust, credential, attempts=Attempts(limit=1)
        ) as client,
        pytest.raises(NetworkError, match="asks to wait"),
    ):
        hammer(client)


def test_messages_and_headers_have_a_size(federation):
    site = federation.site("hospital-loud")
    with (
        serving(federation) as server,
        channel_to(server.endpoint, federation, site) as channel,
    ):
        stub = relay_pb2_grpc.RelayStub(channel)
        large = relay_pb2.PublishRequest(envelope=bytes(MAX_MESSAGE_BYTES))
        with pytest.raises(grpc.RpcError) as refused:
            stub.Publish(large, timeout=10)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetFederation(NOTHING, timeout=10, metadata=[("x-noise", "a" * 17 * KIB)])
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        stub.GetFederation(NOTHING, timeout=10)


def test_whatever_stands_still_is_ended_but_what_is_meant_to_last():
    metrics = Metrics()
    calls = Calls(metrics, Membership(open_url("memory:///")), Limits(stall_seconds=0.2))
    contexts = [Mock(is_active=lambda: True) for _ in range(2)]
    with (
        calls.answering(contexts[0], "ListStatements") as listing,
        calls.answering(contexts[1], "Watch") as watching,
    ):
        end = time.monotonic() + 20
        while listing.ended_because is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert listing.ended_because == "stalled"
        assert watching.ended_because is None
    contexts[0].cancel.assert_called_once()
    calls.close()


def test_strangers_at_full_speed_slow_a_member_within_bounds(tmp_path):
    """`python -m benchmarks flood` gives the factors; here it must stay usable at all."""
    with make_federation(tmp_path) as running:
        stage = Stage(running, tmp_path, MIB)
        seen = stage.measure("TLS handshakes without a certificate", 1.0)
        assert seen.attempts_per_second > 5
        assert seen.failed == 0
        assert seen.call_factor < 100 or seen.call_ms < 1000, seen
        assert seen.connect_factor < 100 or seen.connect_ms < 3000, seen
        assert running.servers[-1].process.poll() is None


def test_connections_that_say_nothing_do_not_keep_a_site_out(federation):
    """Half-open and babbling connections, as many as fit in a second: a member is served."""
    site = federation.site("hospital-patient")
    with serving(federation) as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", int(server.endpoint.rpartition(":")[2]))
        for number in range(200):
            connection = stack.enter_context(socket.create_connection(address, timeout=5))
            if number % 2:
                with contextlib.suppress(OSError):
                    connection.sendall(b"\x16\x03\x01" + bytes(500))
        started = time.monotonic()
        with relay(server, federation, site, attempts=3) as client:
            client.get_federation()
        assert time.monotonic() - started < 30
