"""What `ff-agent doctor` finds, one fault at a time, each made with real sockets."""

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from client_agent.home import Home
from client_agent.steps.doctor import examine
from client_agent.steps.join import join
from ff_protocol import PROTOCOL_VERSION
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
from ff_protocol.names import Identity, Role
from ff_protocol.wire import relay_pb2, relay_pb2_grpc
from tests.agents import agent, finish, start_agent
from tests.federation import make_federation
from tests.homes import FEDERATION, make_authority
from tests.line import Line

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def authority():
    return make_authority()


@pytest.fixture
def site(authority, tmp_path):
    return authority.join(tmp_path / "home", "hospital-1")


def towards(site, endpoint, **reach):
    """The same site, with another way to its coordinator in site.yaml."""
    identity = site.identity.model_copy(update={"endpoint": endpoint, **reach})
    identity.write(site.home.site_file)
    return replace(site, identity=identity)


def fault(site):
    """The one check that failed; all before it held."""
    *before, last = examine(site)
    assert all(item.ok for item in before), before
    assert not last.ok
    assert last.ask
    return last


def server_certificate(
    authority, *, now=None, hosts=("localhost", "127.0.0.1"), federation=FEDERATION
):
    key = make_key()
    chain = issue_leaf(
        authority.issuing,
        key.public_key(),
        Identity(federation, Role.COORDINATOR),
        Purpose.TLS_SERVER,
        now=now or utc_now(),
        lifetime=TLS_LIFETIME,
        hosts=hosts,
    )
    return Credential(key, chain)


def inspection_certificate():
    """What a firewall that opens TLS shows: the right name, made up on the spot by its own CA."""
    key = make_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME Web Gateway CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - DAY)
        .not_valid_after(utc_now() + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(make_key(), hashes.SHA256())
    )
    return Credential(key, (certificate,))


@contextlib.contextmanager
def listening(answer):
    """A TCP server that treats every connection with `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection):
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            answer(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextlib.contextmanager
def tls(tmp_path, credential, *, alpn=("h2",), newest=ssl.TLSVersion.TLSv1_3):
    """A TLS server with a certificate; it shakes hands and then waits."""
    path = tmp_path / "server.pem"
    path.write_bytes(chain_to_pem(credential.chain) + key_to_pem(credential.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))

    def answer(connection):
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with listening(answer) as endpoint:
        yield endpoint


@contextlib.contextmanager
def coordinator(authority, **answers):
    """A gRPC server that answers GetFederation as told."""

    class Service(relay_pb2_grpc.RelayServicer):
        def GetFederation(self, request, context):  # noqa: N802
            if "refusal" in answers:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, answers["refusal"])
            return relay_pb2.GetFederationResponse(
                spec_envelope=b"",
                server_time=int(time.time() + answers.get("ahead", 0)),
                protocol_version=answers.get("version", PROTOCOL_VERSION),
            )

    own = server_certificate(authority)
    credentials = grpc.ssl_server_credentials(
        [(key_to_pem(own.key), chain_to_pem(own.chain))],
        root_certificates=chain_to_pem(authority.root.chain),
        require_client_auth=True,
    )
    server = grpc.server(ThreadPoolExecutor(2))
    relay_pb2_grpc.add_RelayServicer_to_server(Service(), server)
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def test_a_site_that_is_well_is_told_so(tmp_path):
    with make_federation(tmp_path) as federation:
        home = Home(tmp_path / "home")
        join(federation.invite("hospital-1"), home)
        done = agent(home.root, "doctor", "--json")
    assert done.code == 0, done.out + done.err
    assert done.document["healthy"]
    checks = [item["check"] for item in done.document["findings"]]
    assert checks == [
        *("disk", "certificate", "sandbox", "proxy", "name", "port", "tls", "interception", "alpn"),
        *("server", "permission", "version", "clock"),
    ]


# This machine


def test_disk(site):
    done = finish(start_agent(site.home.root, "doctor", "--json", longest_file=1000))
    first = done.document["findings"][0]
    assert done.code == 8
    assert (first["check"], first["ok"]) == ("disk", False)


def test_certificate_that_has_expired(site, authority):
    key = make_key()
    chain = issue_leaf(
        authority.issuing,
        key.public_key(),
        Identity(FEDERATION, Role.SITE, "hospital-1"),
        Purpose.TLS_CLIENT,
        now=utc_now() - 400 * DAY,
        lifetime=TLS_LIFETIME,
    )
    site.home.key("tls").write_bytes(key_to_pem(key))
    site.home.certificate("tls").write_bytes(chain_to_pem(chain))
    findings = {item.check: item for item in examine(site)}
    assert not findings["certificate"].ok
    assert "expired" in findings["certificate"].found
    assert "invite" in findings["certificate"].ask


def test_key_that_others_can_read(site):
    site.home.key("signing").chmod(0o644)
    done = agent(site.home.root, "doctor")
    assert done.code == 5
    assert "WRONG certificate" in done.out
    assert "chmod 600" in done.out


def test_clock_before_the_own_certificate(site, authority):
    key = make_key()
    chain = issue_leaf(
        authority.issuing,
        key.public_key(),
        Identity(FEDERATION, Role.SITE, "hospital-1"),
        Purpose.TLS_CLIENT,
        now=utc_now() + 3 * DAY,
        lifetime=TLS_LIFETIME,
    )
    site.home.key("tls").write_bytes(key_to_pem(key))
    site.home.certificate("tls").write_bytes(chain_to_pem(chain))
    findings = {item.check: item for item in examine(site)}
    assert not findings["clock"].ok
    assert "NTP" in findings["clock"].ask


# The way


def test_name_that_does_not_exist(site):
    found = fault(towards(site, "coordinator.invalid:7443"))
    assert found.check == "name"
    assert "DNS" in found.ask


def test_port_where_nobody_listens(site):
    found = fault(towards(site, "127.0.0.1:1"))
    assert (found.check, "operator" in found.ask) == ("port", True)


def test_port_over_ipv6(site):
    assert "[::1]:1" in fault(towards(site, "[::1]:1")).found


@pytest.mark.parametrize(("status", "wish"), [(403, "lets CONNECT"), (407, "user and password")])
def test_proxy_that_refuses(site, status, wish):
    with Line(("127.0.0.1", 1), connect_proxy=True, refuse_connect=status) as line:
        found = fault(towards(site, "127.0.0.1:7443", proxy=f"http://u:secret@{line.endpoint}"))
    assert found.check == "proxy"
    assert str(status) in found.found
    assert wish in found.ask
    assert "secret" not in repr(found)


def test_proxy_that_is_not_there(site):
    found = fault(towards(site, "127.0.0.1:7443", proxy="http://127.0.0.1:1"))
    assert found.check == "proxy"
    assert "cannot be reached" in found.found


def test_proxy_of_the_environment_is_named_and_not_followed(site, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    findings = {item.check: item for item in examine(towards(site, "127.0.0.1:1"))}
    assert "not followed: https_proxy" in findings["proxy"].found
    assert not findings["port"].ok


# TLS


def test_a_service_that_is_not_tls(site):
    def answer(connection):
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(answer) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "tls"
    assert "does not speak TLS" in found.found


def test_a_firewall_that_cuts_tls(site):
    with listening(lambda connection: connection.recv(5)) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "tls"
    assert f"pass-through of {endpoint}" in found.ask


def test_a_firewall_that_opens_tls_is_named(site, tmp_path):
    with tls(tmp_path, inspection_certificate()) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "interception"
    assert found.found == "TLS is being terminated by 'ACME Web Gateway CA'"
    assert f"layer-4 pass-through of {endpoint}" in found.ask


def test_tls_1_2_only(site, authority, tmp_path):
    credential = server_certificate(authority)
    with tls(tmp_path, credential, newest=ssl.TLSVersion.TLSv1_2) as endpoint:
        findings = examine(towards(site, endpoint))
    assert (findings[-1].check, findings[-1].ok) == ("tls", False)
    assert "TLSv1.2 only" in findings[-1].found


def test_alpn_that_is_stripped(site, authority, tmp_path):
    with tls(tmp_path, server_certificate(authority), alpn=()) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "alpn"


def test_another_federations_coordinator(site, tmp_path):
    other = make_authority()
    credential = server_certificate(other, federation="other-ba9876543210")
    with tls(tmp_path, credential) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "server"
    assert "other-ba9876543210" in found.found


def test_a_certificate_for_another_name(site, authority, tmp_path):
    with tls(tmp_path, server_certificate(authority, hosts=("ff.example.org",))) as endpoint:
        found = fault(towards(site, endpoint))
        assert found.check == "server"
        assert "is for ff.example.org, not for 127.0.0.1" in found.found
        mended = examine(towards(site, endpoint, server_name="ff.example.org"))
        assert {item.check: item.ok for item in mended}["server"]


def test_a_server_certificate_that_has_expired(site, authority, tmp_path):
    with tls(tmp_path, server_certificate(authority, now=utc_now() - 400 * DAY)) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "server"
    assert "expired" in found.found


def test_clock_before_the_servers_certificate(site, authority, tmp_path):
    with tls(tmp_path, server_certificate(authority, now=utc_now() + 2 * DAY)) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "clock"
    assert "not yet valid" in found.found


# The coordinator


def test_permission_of_a_site_that_was_sent_away(site, authority):
    with coordinator(authority, refusal="hospital-1 was expelled") as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "permission"
    assert "was expelled" in found.found


def test_version_that_differs(site, authority):
    with coordinator(authority, version=99) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "version"


@pytest.mark.parametrize(("ahead", "word"), [(3600, "behind"), (-3600, "ahead of")])
def test_clock_that_differs_from_the_coordinators(site, authority, ahead, word):
    with coordinator(authority, ahead=ahead) as endpoint:
        found = fault(towards(site, endpoint))
    assert found.check == "clock"
    assert word in found.found


def test_the_doctor_changes_nothing(site):
    before = {path: path.stat().st_mtime_ns for path in site.home.root.rglob("*") if path.is_file()}
    examine(site)
    after = {path: path.stat().st_mtime_ns for path in site.home.root.rglob("*") if path.is_file()}
    assert before == after
