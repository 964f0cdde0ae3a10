"""Join, send, list, fetch over real TLS with a real coordinator process."""

import pytest

from client_agent.errors import IdentityError, RefusedError
from client_agent.relay.channel import connect
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import Purpose, chain_from_pem, make_key
from ff_protocol.clock import utc_now
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import read_spec
from tests.federation import make_federation, make_module


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation")) as running:
        yield running


def relay(federation, member):
    return connect(federation.endpoint, None, federation.trust, member.tls)


def enrol(federation, invitation, keys):
    requests = [make_request(key, invitation.site_id) for key in keys]
    with connect(
        invitation.endpoint,
        invitation.server_name,
        invitation.trust_root(),
        invitation.credential(),
    ) as client:
        return client.enrol(*requests)


def test_an_invitation_becomes_two_certificates_for_the_sites_own_keys(federation):
    keys = make_key(), make_key()
    answer = enrol(federation, federation.invitation("st-anna"), keys)
    for pem, purpose, key in (
        (answer.tls_chain, Purpose.TLS_CLIENT, keys[0]),
        (answer.signing_chain, Purpose.SIGNING, keys[1]),
    ):
        chain = chain_from_pem(pem)
        identity = federation.trust.verify(chain, purpose, Role.SITE, at=utc_now())
        assert identity.site_id == "st-anna"
        assert chain[0].public_key() == key.public_key()
    payload = dsse.verify(answer.spec_envelope, federation.trust, (Role.AUTHORITY,), at=utc_now())
    assert read_spec(payload)[0].classes == ("a", "b", "c")


def test_an_invitation_can_be_repeated_with_the_same_keys_only(federation):
    invitation = federation.invitation("st-berta")
    keys = make_key(), make_key()
    enrol(federation, invitation, keys)
    enrol(federation, invitation, keys)
    with pytest.raises(IdentityError, match="already been used"):
        enrol(federation, invitation, (make_key(), keys[1]))


def test_a_module_is_sent_once_and_fetched_by_another_site(federation, tmp_path):
    sender, receiver = federation.site("sender"), federation.site("receiver")
    folder = make_module(tmp_path / "module", seed=1)
    digest, entries = describe_module(folder)
    publication, envelope = sender.publication(entries, digest)
    steps = []
    with relay(federation, sender) as client:
        first = client.send_module(folder, envelope, entries, lambda *step: steps.append(step))
        again = client.send_module(folder, envelope, entries)
    total = sum(entry.size for entry in entries.values())
    assert (first.already_there, first.chunks_sent, first.chunks_total) == (False, 5, 5)
    assert first.bytes_sent == total + len(envelope)
    assert steps[-1] == (total, total)
    assert again.already_there
    assert (again.chunks_sent, again.bytes_sent) == (0, len(envelope))
    with relay(federation, receiver) as client:
        assert envelope in list(client.list_statements(set()))
        assert envelope not in list(client.list_statements({sha256_hex(envelope)}))
        client.fetch_files(publication, tmp_path / "fetched", lambda *step: steps.append(step))
        assert client.bytes_received >= total
        assert client.get_federation().protocol_version == 1
    assert describe_module(tmp_path / "fetched") == (digest, entries)
    assert steps[-1] == (total, total)


def test_a_revoked_module_cannot_be_published_and_revocations_come_first(federation, tmp_path):
    site = federation.site("revoker")
    published = make_module(tmp_path / "published", 1000, seed=2)
    later = make_module(tmp_path / "later", 1000, seed=3)
    publication, envelope = site.publication_of(published)
    refused, refused_envelope = site.publication_of(later)
    with relay(federation, site) as client:
        client.send_module(published, envelope, publication.files)
        digest, first = site.revocation((publication.module,))
        _, second = site.revocation((refused.module,), sequence=2, previous=digest)
        assert not client.publish(first)
        assert client.publish(first)
        assert not client.publish(second)
        with pytest.raises(RefusedError, match="revoked by revoker"):
            client.send_module(later, refused_envelope, refused.files)
        listed = list(client.list_statements(set()))
    assert listed.index(first) < listed.index(second) < listed.index(envelope)
