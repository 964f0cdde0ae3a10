"""Peers and statements that must be refused, against a real coordinator process."""

import base64
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import time

import grpc
import pytest

from client_agent.errors import IdentityError, RefusedError
from client_agent.relay.channel import connect
from ff_protocol import dsse
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
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
from ff_protocol.invitation import Invitation, parse_invitation
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.manifest import FileEntry, describe_module, module_digest
from ff_protocol.names import Identity, Role
from ff_protocol.statements import build_publication
from ff_protocol.tls import CLIENT_OPTIONS
from ff_protocol.wire import relay_pb2, relay_pb2_grpc
from tests.federation import make_federation, make_module


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation")) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("other"), serve=False) as other:
        yield other.site("hospital-1")


@pytest.fixture(scope="module")
def member(federation):
    return federation.site("hospital-1")


def relay(federation, credential):
    return connect(federation.endpoint, None, federation.trust, credential)


def stub(federation, credential):
    credentials = grpc.ssl_channel_credentials(
        chain_to_pem((federation.trust.certificate,)),
        key_to_pem(credential.key),
        chain_to_pem(credential.chain),
    )
    channel = grpc.secure_channel(federation.endpoint, credentials, options=CLIENT_OPTIONS)
    return relay_pb2_grpc.RelayStub(channel)


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


# Who may connect


def s_client(federation, folder, *arguments, certificate=None):
    (folder / "root.pem").write_bytes(chain_to_pem((federation.trust.certificate,)))
    extra = []
    if certificate is not None:
        (folder / "tls.pem").write_bytes(chain_to_pem(certificate.chain))
        (folder / "tls.key").write_bytes(key_to_pem(certificate.key))
        extra = ["-cert", "tls.pem", "-cert_chain", "tls.pem", "-key", "tls.key"]
    return subprocess.run(
        [
            *("openssl", "s_client", "-connect", federation.endpoint, "-CAfile", "root.pem"),
            *("-alpn", "h2", *extra, *arguments),
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_only_tls_1_3_is_spoken(federation, member, tmp_path):
    old = s_client(federation, tmp_path, "-tls1_2", certificate=member.tls)
    new = s_client(federation, tmp_path, "-tls1_3", certificate=member.tls)
    assert old.returncode != 0
    assert b"Cipher is (NONE)" in old.stdout
    assert new.returncode == 0
    assert b"New, TLSv1.3" in new.stdout


def test_the_python_client_stack_is_refused_tls_1_2_too(federation, member, tmp_path):
    (tmp_path / "tls.pem").write_bytes(chain_to_pem(member.tls.chain) + key_to_pem(member.tls.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tmp_path / "tls.pem")
    context.load_verify_locations(
        cadata=chain_to_pem((federation.trust.certificate,)).decode("ascii")
    )
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", federation.servers[-1].port)) as raw,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_a_client_without_certificate_is_refused(federation):
    root = chain_to_pem((federation.trust.certificate,))
    channel = grpc.secure_channel(
        federation.endpoint, grpc.ssl_channel_credentials(root), options=CLIENT_OPTIONS
    )
    relay_stub = relay_pb2_grpc.RelayStub(channel)
    request = relay_pb2.GetFederationRequest()
    code = code_of(lambda: relay_stub.GetFederation(request, timeout=10))
    assert code == grpc.StatusCode.UNAVAILABLE


def test_a_member_of_another_federation_is_refused(federation, stranger):
    sender = stub(federation, stranger.tls)
    request = relay_pb2.GetFederationRequest()
    code = code_of(lambda: sender.GetFederation(request, timeout=10))
    assert code == grpc.StatusCode.UNAVAILABLE


def test_the_own_certificate_is_checked_before_dialling(federation, stranger):
    with (
        pytest.raises(IdentityError, match="own certificate refused"),
        relay(federation, stranger.tls),
    ):
        pytest.fail("connected")


def test_the_site_refuses_a_coordinator_of_another_federation(federation, stranger):
    with (
        pytest.raises(IdentityError, match="not of this federation"),
        connect(federation.endpoint, None, stranger.trust, stranger.tls),
    ):
        pytest.fail("connected")


def test_the_site_refuses_a_server_under_another_name(federation, member):
    with (
        pytest.raises(IdentityError, match="another name"),
        connect(federation.endpoint, "elsewhere.example", federation.trust, member.tls),
    ):
        pytest.fail("connected")


@pytest.mark.parametrize("role", [Role.INVITATION, Role.COORDINATOR, Role.AUTHORITY])
def test_only_sites_are_relayed_for(federation, role):
    site = "hospital-9" if role is Role.INVITATION else None
    identity = Identity(federation.trust.federation_id, role, site)
    credential = federation.credential(identity, Purpose.TLS_CLIENT)
    with (
        relay(federation, credential) as client,
        pytest.raises(IdentityError, match="for sites that have joined"),
    ):
        client.get_federation()


def test_a_certificate_for_another_federation_id_under_the_same_root_is_refused(federation):
    credential = federation.credential(
        Identity("other-000000000000", Role.SITE, "hospital-1"), Purpose.TLS_CLIENT
    )
    sender = stub(federation, credential)
    request = relay_pb2.GetFederationRequest()
    with pytest.raises(grpc.RpcError, match="another federation") as caught:
        sender.GetFederation(request, timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_site_cannot_enrol(federation, member):
    with (
        relay(federation, member.tls) as client,
        pytest.raises(IdentityError, match="for invited sites"),
    ):
        client.enrol(b"", b"")


def test_an_expired_invitation_is_refused_by_both_sides(federation):
    path = federation.invite("late", valid="1s")
    invitation = Invitation.model_validate_json(path.read_bytes())
    time.sleep(2.1)  # certificates end with a whole second
    with pytest.raises(UntrustedError, match="expired"):
        parse_invitation(path.read_bytes(), at=utc_now())
    with (
        pytest.raises(IdentityError, match="expired"),
        connect(invitation.endpoint, None, invitation.trust_root(), invitation.credential()),
    ):
        pytest.fail("connected")
    sender = stub(federation, invitation.credential())
    request = relay_pb2.GetFederationRequest()
    code = code_of(lambda: sender.GetFederation(request, timeout=10))
    assert code == grpc.StatusCode.UNAVAILABLE


def test_enrolment_demands_two_different_keys(federation):
    invitation = federation.invitation("lazy")
    request = make_request(make_key(), "lazy")
    with (
        connect(
            invitation.endpoint, None, invitation.trust_root(), invitation.credential()
        ) as client,
        pytest.raises(RefusedError, match="different keys"),
    ):
        client.enrol(request, request)


# Statements


@pytest.fixture(scope="module")
def held(federation, member, tmp_path_factory):
    """A module whose chunks the coordinator has, unpublished."""
    folder = make_module(tmp_path_factory.mktemp("held") / "module", 5000, seed=7)
    digest, entries = describe_module(folder)
    publication, _ = member.publication(entries, digest)
    sender = stub(federation, member.tls)
    chunks = [
        relay_pb2.Chunk(sha256=hashlib.sha256(data).digest(), data=data)
        for data in (path.read_bytes() for path in folder.iterdir())
    ]
    assert len(list(sender.PutChunks(iter(chunks)))) == 3
    return publication


def refusal(federation, member, envelope):
    with (
        relay(federation, member.tls) as client,
        pytest.raises((IdentityError, RefusedError)) as caught,
    ):
        client.publish(envelope)
    return caught.value.message


def test_a_statement_of_another_site_is_refused(federation, member, held):
    other = federation.site("hospital-2")
    _, envelope = other.publication(held.files, held.module)
    assert "cannot hand in a statement of hospital-2" in refusal(federation, member, envelope)


def test_speaking_for_another_site_is_refused(federation, member, held):
    _, envelope = member.publication(held.files, held.module, site_id="hospital-2")
    assert "cannot publish for" in refusal(federation, member, envelope)


def test_an_altered_statement_is_refused(federation, member, held):
    _, envelope = member.publication(held.files, held.module)
    document = json.loads(envelope)
    payload = base64.b64decode(document["payload"]).replace(b'"class":"a"', b'"class":"b"')
    document["payload"] = base64.b64encode(payload).decode()
    message = refusal(federation, member, json.dumps(document).encode())
    assert "signature does not hold" in message


def test_a_signature_with_the_tls_key_is_refused(federation, member, held):
    envelope = dsse.sign(build_publication(held), member.tls)
    assert "not for signing" in refusal(federation, member, envelope)


def test_a_signer_of_another_federation_is_refused(federation, member, stranger, held):
    _, envelope = stranger.publication(held.files, held.module)
    assert "certificate refused" in refusal(federation, member, envelope)


def test_a_self_made_chain_is_refused(federation, member, held):
    issuing = make_issuing(make_root("test", utc_now()), "test", utc_now())
    key = make_key()
    identity = Identity(federation.trust.federation_id, Role.SITE, "hospital-1")
    chain = issue_leaf(
        issuing,
        key.public_key(),
        identity,
        Purpose.SIGNING,
        now=utc_now(),
        lifetime=SIGNING_LIFETIME,
    )
    envelope = dsse.sign(build_publication(held), Credential(key, chain))
    assert "certificate refused" in refusal(federation, member, envelope)


def test_an_unknown_class_is_refused(federation, member, held):
    _, envelope = member.publication(held.files, held.module, class_name="zebra")
    assert "not in the federation" in refusal(federation, member, envelope)


def test_a_publication_with_missing_chunks_is_refused(federation, member, tmp_path):
    _, envelope = member.publication_of(make_module(tmp_path / "m", 3_000_000, seed=8))
    assert "chunks are missing" in refusal(federation, member, envelope)


def test_a_publication_whose_chunks_have_other_sizes_is_refused(federation, member, held):
    entry = held.files["card.json"]
    files = {
        **held.files,
        "card.json": FileEntry(entry.name, entry.size + 1, entry.sha256, entry.chunks),
    }
    _, envelope = member.publication(files, module_digest(files))
    assert "the publication implies" in refusal(federation, member, envelope)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "module.onnx/..", "", "Module.onnx"])
def test_path_like_file_names_are_refused(federation, member, held, name):
    entry = held.files["module.sig"]
    files = dict(held.files)
    files["module.sig"] = FileEntry(name, entry.size, entry.sha256, entry.chunks)
    _, envelope = member.publication(files, module_digest(files))
    assert "does not belong in a module" in refusal(federation, member, envelope)


def test_only_own_modules_can_be_revoked(federation, member, held):
    other = federation.site("hospital-3")
    with relay(federation, member.tls) as client:
        _, envelope = member.publication(held.files, held.module)
        client.publish(envelope)
    _, revocation = other.revocation((held.module,))
    assert "cannot revoke" in refusal(federation, other, revocation)
    _, revocation = other.revocation(site="hospital-1")
    assert "cannot revoke the site" in refusal(federation, other, revocation)


def test_a_revocation_chain_has_neither_gaps_nor_forks(federation):
    site = federation.site("hospital-4")
    modules = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(3))
    digest, first = site.revocation(modules[:1])
    _, gap = site.revocation(modules[1:2], sequence=3, previous=digest)
    _, fork = site.revocation(modules[2:])
    _, unlinked = site.revocation(modules[1:2], sequence=2, previous="0" * 64)
    with relay(federation, site.tls) as client:
        assert client.publish(first) is False
    assert "does not continue" in refusal(federation, site, gap)
    assert "another revocation numbered 1" in refusal(federation, site, fork)
    assert "does not continue" in refusal(federation, site, unlinked)


@pytest.mark.parametrize("envelope", [b"", b"{}", b"\xff\x00", b"[" * 10_000, b"{" * 100])
def test_rubbish_is_refused_as_malformed(federation, member, envelope):
    request = relay_pb2.PublishRequest(envelope=envelope)
    sender = stub(federation, member.tls)
    assert code_of(lambda: sender.Publish(request)) == grpc.StatusCode.INVALID_ARGUMENT


# Chunks


@pytest.mark.parametrize(
    ("digest", "data"),
    [
        (hashlib.sha256(b"other").digest(), b"data"),
        (b"", b"data"),
        (b"../../../../etc/passwd", b"data"),
        (hashlib.sha256(b"").digest(), b""),
        (hashlib.sha256(bytes(CHUNK_BYTES + 1)).digest(), bytes(CHUNK_BYTES + 1)),
    ],
)
def test_bad_chunks_are_refused(federation, member, digest, data):
    sender = stub(federation, member.tls)
    chunk = relay_pb2.Chunk(sha256=digest, data=data)
    code = code_of(lambda: list(sender.PutChunks(iter([chunk]))))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_messages_much_above_a_chunk_are_not_even_read(federation, member):
    data = bytes(3 * CHUNK_BYTES)
    chunk = relay_pb2.Chunk(sha256=hashlib.sha256(data).digest(), data=data)
    options = [*CLIENT_OPTIONS, ("grpc.max_send_message_length", -1)]
    credentials = grpc.ssl_channel_credentials(
        chain_to_pem((federation.trust.certificate,)),
        key_to_pem(member.tls.key),
        chain_to_pem(member.tls.chain),
    )
    channel = grpc.secure_channel(federation.endpoint, credentials, options=options)
    sender = relay_pb2_grpc.RelayStub(channel)
    code = code_of(lambda: list(sender.PutChunks(iter([chunk]))))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("digests", [[b"short"], [bytes(32)] * 4097])
def test_questions_about_chunks_are_bounded(federation, member, digests):
    sender = stub(federation, member.tls)
    request = relay_pb2.FindMissingChunksRequest(sha256=digests)
    assert code_of(lambda: sender.FindMissingChunks(request)) == grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_chunk_is_not_found(federation, member):
    sender = stub(federation, member.tls)
    request = relay_pb2.GetChunksRequest(sha256=[bytes(32)])
    assert code_of(lambda: list(sender.GetChunks(request))) == grpc.StatusCode.NOT_FOUND


def test_no_secret_and_no_path_reaches_the_peer(federation, member):
    home = str(federation.home.root)
    sender = stub(federation, member.tls)
    for call in (
        lambda: list(sender.GetChunks(relay_pb2.GetChunksRequest(sha256=[bytes(32)]))),
        lambda: sender.Publish(relay_pb2.PublishRequest(envelope=b"{}")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert home not in (caught.value.details() or "")
    assert "PRIVATE KEY" not in (federation.folder / "serve.log").read_text()
