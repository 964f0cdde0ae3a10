"""Every certificate that must not open a connection, against a real coordinator process.

openssl is the independent client where it can show what happens in the handshake; our own client
stack shows what an agent is told.
"""

import datetime as dt
import shutil
import socket
import ssl
import subprocess
import threading

import grpc
import pytest

from client_agent.errors import IdentityError, NetworkError
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from coordinator.home import CoordinatorHome
from ff_protocol import dsse
from ff_protocol.certificates import (
    TLS_LIFETIME,
    Credential,
    Purpose,
    chain_to_pem,
    issue_leaf,
    key_to_pem,
    make_issuing,
    make_key,
    make_root,
)
from ff_protocol.clock import utc_now
from ff_protocol.errors import UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.tls import CLIENT_OPTIONS
from ff_protocol.wire import relay_pb2, relay_pb2_grpc
from tests.federation import ff_coordinator, make_federation

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
LOCAL = ("localhost", "127.0.0.1")
LONG_AGO = dt.timedelta(days=800)


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation")) as running:
        yield running


@pytest.fixture(scope="module")
def member(federation):
    return federation.site("hospital-1")


def leaf(federation, role=Role.SITE, purpose=Purpose.TLS_CLIENT, *, issuing=None, **changes):
    """A leaf like the authority's, but for what `changes` says."""
    key = make_key()
    site = "hospital-1" if role in (Role.SITE, Role.INVITATION) else None
    values = {"now": utc_now(), "lifetime": TLS_LIFETIME} | changes
    chain = issue_leaf(
        issuing or federation.home.credential("issuing"),
        key.public_key(),
        Identity(federation.trust.federation_id, role, site),
        purpose,
        **values,
    )
    return Credential(key, chain)


def foreign_issuing(federation):
    """An issuing CA under another root with this federation's very names."""
    name = federation.home.settings().name
    return make_issuing(make_root(name, utc_now()), name, utc_now())


CLIENTS = {
    "wrong CA": lambda f: leaf(f, issuing=foreign_issuing(f)),
    "expired": lambda f: leaf(f, now=utc_now() - LONG_AGO, lifetime=dt.timedelta(days=397)),
    "not yet valid": lambda f: leaf(f, now=utc_now() + dt.timedelta(days=2)),
    "server as client": lambda f: leaf(f, Role.COORDINATOR, Purpose.TLS_SERVER),
    "a site's name on a server's certificate": lambda f: leaf(f, purpose=Purpose.TLS_SERVER),
    "signer as client": lambda f: leaf(f, purpose=Purpose.SIGNING),
}
"""What must not get a single answer out of the relay."""


@pytest.mark.parametrize("case", CLIENTS)
def test_a_client_that_is_not_a_member_gets_no_answer(federation, case):
    credential = CLIENTS[case](federation)
    credentials = grpc.ssl_channel_credentials(
        chain_to_pem((federation.trust.certificate,)),
        key_to_pem(credential.key),
        chain_to_pem(credential.chain),
    )
    request = relay_pb2.GetFederationRequest()
    with grpc.secure_channel(federation.endpoint, credentials, options=CLIENT_OPTIONS) as channel:
        relay = relay_pb2_grpc.RelayStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            relay.GetFederation(request, timeout=10)
    refused = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    assert caught.value.code() in refused


@pytest.mark.parametrize("case", CLIENTS)
def test_the_agent_says_so_before_it_dials(federation, case):
    with (
        pytest.raises(IdentityError, match="own certificate"),
        connect(federation.endpoint, None, federation.trust, CLIENTS[case](federation)),
    ):
        pytest.fail("connected")


def test_an_expelled_member_is_refused_by_the_running_server(federation):
    expelled = federation.site("hospital-expelled")
    with connect(federation.endpoint, None, federation.trust, expelled.tls) as client:
        client.get_federation()
    done = ff_coordinator("expel", "hospital-expelled", "--home", str(federation.home.root))
    assert done["status"] == "ok", done
    threading.Event().wait(1.2)  # an answer of the store is taken for the present for a second
    with (
        connect(federation.endpoint, None, federation.trust, expelled.tls) as client,
        pytest.raises(IdentityError, match="has been expelled"),
    ):
        client.get_federation()


# The independent client


def s_client(federation, folder, *arguments, certificate=None):
    """What openssl says of a connection that it may hold open for a moment."""
    (folder / "root.pem").write_bytes(chain_to_pem((federation.trust.certificate,)))
    extra = []
    if certificate is not None:
        (folder / "tls.pem").write_bytes(chain_to_pem(certificate.chain))
        (folder / "tls.key").write_bytes(key_to_pem(certificate.key))
        extra = ["-cert", "tls.pem", "-cert_chain", "tls.pem", "-key", "tls.key"]
    process = subprocess.Popen(
        [
            *("openssl", "s_client", "-connect", federation.endpoint, "-CAfile", "root.pem"),
            *("-verify_return_error", "-alpn", "h2", "-ign_eof", *extra, *arguments),
        ],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",  # after the handshake: HTTP/2 frames
    )
    try:
        # In TLS 1.3 a client's certificate is judged after its side of the handshake is over, so
        # an alert arrives a moment later; a member's connection just stays open.
        out, _ = process.communicate(timeout=1.5)
        return out, True
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0], False


@NEEDS_OPENSSL
def test_openssl_is_let_in_with_a_members_certificate_and_shown_the_chain(
    federation, member, tmp_path
):
    out, ended = s_client(federation, tmp_path, "-showcerts", certificate=member.tls)
    assert not ended, out
    assert "New, TLSv1.3, Cipher is TLS_AES" in out
    assert "Verify return code: 0 (ok)" in out
    assert "ALPN protocol: h2" in out
    # The leaf and the issuing CA; the root stays with the verifier.
    assert out.count("BEGIN CERTIFICATE") == 2
    assert "CN = coordinator" in out
    assert "test issuing" in out


@NEEDS_OPENSSL
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_1"])
def test_openssl_finds_nothing_older_than_tls_1_3(federation, member, tmp_path, version):
    arguments = (version, "-cipher", "ALL:@SECLEVEL=0")
    out, ended = s_client(federation, tmp_path, *arguments, certificate=member.tls)
    assert ended
    assert "Cipher is (NONE)" in out


@NEEDS_OPENSSL
def test_openssl_without_a_certificate_is_sent_away(federation, tmp_path):
    out, ended = s_client(federation, tmp_path)
    assert ended, out
    assert "Verify return code: 0 (ok)" in out


@NEEDS_OPENSSL
@pytest.mark.parametrize("case", ["wrong CA", "expired", "not yet valid"])
def test_openssl_with_a_bad_certificate_is_sent_away(federation, tmp_path, case):
    out, ended = s_client(federation, tmp_path, certificate=CLIENTS[case](federation))
    assert ended, out
    assert "Verify return code: 0 (ok)" in out


# The other direction: what an agent dials must be the coordinator


def foreign_server(credential):
    """A TLS 1.3 server on loopback that shows `credential` and keeps to ALPN h2."""
    import tempfile

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(key_to_pem(credential.key) + chain_to_pem(credential.chain))
        file.flush()
        context.load_cert_chain(file.name)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    threading.Thread(target=answer, daemon=True).start()
    return listener


SERVERS = {
    "client as server": lambda f: leaf(f, Role.SITE, Purpose.TLS_CLIENT, hosts=LOCAL),
    "signer as server": lambda f: leaf(f, Role.SITE, Purpose.SIGNING, hosts=LOCAL),
    "wrong CA": lambda f: leaf(
        f, Role.COORDINATOR, Purpose.TLS_SERVER, hosts=LOCAL, issuing=foreign_issuing(f)
    ),
    "expired": lambda f: leaf(
        f, Role.COORDINATOR, Purpose.TLS_SERVER, hosts=LOCAL, now=utc_now() - LONG_AGO
    ),
    "not yet valid": lambda f: leaf(
        f,
        Role.COORDINATOR,
        Purpose.TLS_SERVER,
        hosts=LOCAL,
        now=utc_now() + dt.timedelta(days=2),
    ),
}


@pytest.mark.parametrize("case", SERVERS)
def test_an_agent_does_not_talk_to_what_is_no_coordinator(federation, member, case):
    with foreign_server(SERVERS[case](federation)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        attempts = Attempts(patience_seconds=1)
        with (
            pytest.raises(IdentityError, match="certificate"),
            connect(endpoint, None, federation.trust, member.tls, attempts=attempts),
        ):
            pytest.fail("connected")


def test_the_same_server_with_the_coordinators_certificate_passes_the_handshake(federation, member):
    """The refusals above are the certificates' doing: this one is cut off after the handshake."""
    good = leaf(federation, Role.COORDINATOR, Purpose.TLS_SERVER, hosts=LOCAL)
    with foreign_server(good) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        attempts = Attempts(patience_seconds=1)
        with (
            pytest.raises(NetworkError),
            connect(endpoint, None, federation.trust, member.tls, attempts=attempts),
        ):
            pytest.fail("connected")


@pytest.mark.parametrize(
    ("case", "credential"),
    {
        "a site's": lambda f: leaf(f, Role.SITE, Purpose.TLS_CLIENT, hosts=LOCAL),
        "an authority's": lambda f: leaf(f, Role.AUTHORITY, Purpose.SIGNING, hosts=LOCAL),
    }.items(),
)
def test_a_coordinator_does_not_start_with_a_certificate_for_something_else(
    federation, tmp_path, case, credential
):
    home = CoordinatorHome(shutil.copytree(federation.home.root, tmp_path / "home"))
    home.write_credential("server", credential(federation))
    done = ff_coordinator("serve", "--home", str(home.root), "--listen", "127.0.0.1:0")
    assert (done["exit_code"], done["error_code"]) == (5, "untrusted")
    assert "not for tls server" in done["message"]


# A statement's signer


@pytest.mark.parametrize("purpose", [Purpose.TLS_CLIENT, Purpose.TLS_SERVER])
def test_a_tls_certificate_signs_no_statement(federation, purpose):
    envelope = dsse.sign({"a": 1}, leaf(federation, purpose=purpose))
    with pytest.raises(UntrustedError, match="not for signing"):
        dsse.verify(envelope, federation.trust, (Role.SITE,), at=utc_now())
