"""Certificates that are renewed, sites that are expelled, a root that changes: the real server."""

import datetime as dt
import signal
import time
from collections.abc import Callable

import pytest

from client_agent.credentials import load_leaf
from client_agent.errors import IdentityError, RefusedError, UsageError
from client_agent.home import Home
from client_agent.registry.heads import load_heads
from client_agent.registry.members import load_members, roots_version
from client_agent.registry.revocations import load_revocations
from client_agent.relay.channel import connect
from client_agent.relay.connection import open_relay
from client_agent.site import open_site
from client_agent.steps.join import join
from client_agent.steps.join_offline import join_approved, write_request
from client_agent.steps.receive import receive
from client_agent.steps.renew import renew, renew_with_invitation
from client_agent.steps.status import status
from coordinator.server import Server
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import (
    TLS_LIFETIME,
    Credential,
    Purpose,
    chain_from_pem,
    chain_to_pem,
    issue_leaf,
    make_key,
    root_fingerprint,
)
from ff_protocol.clock import utc_now
from ff_protocol.names import Identity, Role
from ff_protocol.renewals import vouch
from ff_protocol.trust import leaf_identity
from tests.agents import agent_json
from tests.federation import Member, ff_coordinator, make_federation, make_module


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Two replicas over one store, whose root lies elsewhere."""
    folder = tmp_path_factory.mktemp("federation")
    with make_federation(folder, serve=False, offline_root=folder / "safe") as founded:
        founded.start()
        founded.start()
        yield founded


@pytest.fixture
def site(federation, tmp_path):
    return joined(federation, tmp_path / "home", f"site-{time.monotonic_ns()}")


def joined(federation, folder, name):
    home = Home(folder)
    join(federation.invite(name), home)
    return open_site(home)


def operate(federation, command, *arguments):
    done = ff_coordinator(command, "--home", str(federation.home.root), *map(str, arguments))
    assert done["status"] == "ok", done
    return done


def aged(federation, site, days, name="tls"):
    """Give a site a certificate for the key that it has, issued so many days ago."""
    purpose = {"tls": Purpose.TLS_CLIENT, "signing": Purpose.SIGNING}[name]
    credential = site.credential(name)
    chain = issue_leaf(
        federation.home.credential("issuing"),
        credential.key.public_key(),
        Identity(site.trust.federation_id, Role.SITE, site.site_id),
        purpose,
        now=utc_now() - dt.timedelta(days=days),
        lifetime=dt.timedelta(days=397),
    )
    site.home.certificate(name).write_bytes(chain_to_pem(chain))


# Renewal


def test_receive_renews_what_is_due_and_the_old_connection_goes_on(federation, site):
    aged(federation, site, 300)
    before, signing = load_leaf(site.home, "tls"), load_leaf(site.home, "signing")
    with open_relay(site) as relay:
        received = receive(site)
        relay.get_federation()
    after = load_leaf(site.home, "tls")
    assert received.notes == ["tls certificate renewed"]
    assert after.public_key() != before.public_key()
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert load_leaf(site.home, "signing") == signing
    assert site.home.key("tls").stat().st_mode & 0o777 == 0o600
    with open_relay(site) as relay:
        relay.get_federation()
    assert receive(site).notes == []


def test_renew_says_what_is_due_and_all_renews_both(federation, site):
    assert renew(site).renewed == ()
    old = site.credential("signing")
    done = renew(site, everything=True)
    assert done.renewed == ("tls", "signing")
    assert site.credential("signing").key.private_numbers() != old.key.private_numbers()
    assert site.trust.verify(old.chain, Purpose.SIGNING, Role.SITE, at=utc_now())


def test_an_expired_site_comes_back_with_a_new_invitation_and_not_without(federation, site):
    aged(federation, site, 800)
    with pytest.raises(IdentityError, match="expired"):
        receive(site)
    assert renew_with_invitation(site, federation.invite(site.site_id)).renewed
    assert receive(site).refused == {}


def test_a_renewal_is_for_new_keys_of_the_caller_only(federation, site):
    other = federation.site("hospital-other")
    with open_relay(site) as relay:
        own = site.credential("tls").key
        with pytest.raises(RefusedError, match="new keys"):
            relay.renew(make_request(own, site.site_id), b"")
        with pytest.raises(RefusedError, match="new keys"):
            relay.renew(b"", b"")
        # The name in a request is nothing: the caller's certificate says who it is.
        request = make_request(make_key(), other.name)
        (leaf, *_) = chain_from_pem(relay.renew(request, b"").tls_chain)
    assert leaf_identity(leaf, Purpose.TLS_CLIENT).site_id == site.site_id


def test_a_stolen_tls_key_is_not_worth_a_signing_key(federation, site):
    """The thief has a member's TLS key and the keys of a site of its own."""
    thief = federation.site("hospital-thief")
    victim = Identity(site.trust.federation_id, Role.SITE, site.site_id)
    request = make_request(make_key(), site.site_id)
    other = make_request(make_key(), site.site_id)
    vouchers = {
        "not a DSSE|JSON": b"",
        "cannot vouch": vouch(request, victim, thief.signing),
        "not for signing": vouch(request, victim, site.credential("tls")),
        "another certificate request": vouch(other, victim, site.credential("signing")),
    }
    with open_relay(site) as relay:
        for words, voucher in vouchers.items():
            with pytest.raises((IdentityError, RefusedError), match=words):
                relay.renew(b"", request, voucher)
        honest = vouch(request, victim, site.credential("signing"))
        assert relay.renew(b"", request, honest).signing_chain


def test_a_running_server_renews_its_certificate_without_dropping_a_call(federation, site):
    server = Server(federation.home, "127.0.0.1:0")
    server.start()
    try:
        held = federation.home.credential("server")
        chain = issue_leaf(
            federation.home.credential("issuing"),
            held.key.public_key(),
            Identity(site.trust.federation_id, Role.COORDINATOR),
            Purpose.TLS_SERVER,
            now=utc_now() - dt.timedelta(days=380),
            lifetime=dt.timedelta(days=397),
            hosts=federation.home.settings().hosts,
        )
        federation.home.write_credential("server", Credential(held.key, chain))
        with connect(server.endpoint, None, site.trust, site.credential("tls")) as client:
            rings = client.watch(20)
            first = next(rings)
            server._keep_house()
            until = federation.home.chain("server")[0].not_valid_after_utc
            assert until > utc_now() + dt.timedelta(days=390)
            own = Member(site.site_id, site.trust, *map(site.credential, ("tls", "signing")))
            client.publish(own.revocation(("0" * 64,))[1])
            assert next(rings) != first
            rings.close()
        with connect(server.endpoint, None, site.trust, site.credential("tls")) as client:
            client.get_federation()
    finally:
        server.stop(0)


# Expulsion


def may_call(federation, member) -> bool:
    try:
        with connect(federation.endpoint, None, federation.trust, member.tls) as relay:
            relay.get_federation()
    except IdentityError:
        return False
    return True


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Wait for what replicas look up once a second."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_an_expulsion_is_in_force_on_both_replicas_and_told_to_the_others(
    federation, site, tmp_path
):
    bad = federation.site("hospital-bad")
    modules = []
    for number in (1, 2):
        folder = make_module(tmp_path / f"module-{number}", 5000, seed=number)
        publication, envelope = bad.publication_of(folder)
        with connect(federation.endpoint, None, federation.trust, bad.tls) as relay:
            relay.send_module(folder, envelope, publication.files)
        modules.append(publication.module)
    done = operate(federation, "expel", "hospital-bad", "--reason", "stolen key")
    assert done["told"]
    for server in federation.servers:
        with (
            connect(server.endpoint, None, federation.trust, bad.tls) as relay,
            pytest.raises(IdentityError, match="has been expelled"),
        ):
            relay.get_federation()
    received = receive(site)
    assert "hospital-bad has been expelled from the federation" in received.notes
    members = load_members(site, utc_now())
    assert members.refuses(modules[0], "hospital-bad") is None
    assert members.refuses("f" * 64, "hospital-bad").reason == "stolen key"
    assert status(site)["expelled"] == ["hospital-bad"]

    done = operate(federation, "expel", "hospital-bad", "--revoke-modules")
    assert (done["already"], sorted(done["revoked"])) == (True, sorted(modules))
    received = receive(site)
    assert received.revocations == 1
    revoked = load_revocations(site.home, site.trust)
    assert all(revoked.covering(module, "hospital-bad") for module in modules)

    done = operate(federation, "expel", "hospital-bad", "--undo")
    assert done["told"]
    assert "hospital-bad may take part again" in receive(site).notes
    assert within(5, lambda: may_call(federation, bad))


# Enrolment without a network


def test_two_files_carried_by_hand_end_as_an_invitation_does(federation, tmp_path):
    folder, request = tmp_path / "home", tmp_path / "site.csr"
    asked = agent_json(folder, "join", "--request", request, "--site", "hospital-far")
    approval = tmp_path / "approval.json"
    arguments = (request, "--endpoint", federation.endpoint, "--output", approval)
    wrong = ff_coordinator(
        *("approve", "--home", str(federation.home.root), *map(str, arguments)),
        *("--fingerprint", "0" * 64),
    )
    assert (wrong["exit_code"], approval.exists()) == (2, False)
    done = operate(federation, "approve", *arguments, "--fingerprint", asked["fingerprint"])
    assert b"PRIVATE" not in request.read_bytes() + approval.read_bytes()
    joined = agent_json(folder, "join", "--certificate", approval)
    assert joined["fingerprint"] == done["fingerprint"] == federation.trust.fingerprint
    assert receive(open_site(Home(folder))).refused == {}
    # The same file in another home, or another site's file in this one, is of no use.
    with pytest.raises(UsageError, match="no key yet"):
        join_approved(approval, Home(tmp_path / "other"))
    write_request(Home(tmp_path / "other"), "hospital-far", tmp_path / "other.csr")
    with pytest.raises(IdentityError, match="not for this site's key"):
        join_approved(approval, Home(tmp_path / "other"))


# The root


def test_the_root_key_is_never_in_the_home(federation):
    held = {path.name for path in federation.home.root.rglob("*.key")}
    assert held == {"issuing.key", "signing.key", "tls.key"}
    safe = federation.folder / "safe"
    assert (safe / "root.key").stat().st_mode & 0o777 == 0o600
    assert chain_from_pem((safe / "root.pem").read_bytes())[0] == federation.trust.certificate


def hang_up(federation):
    """Have every server follow the store, and wait until it has."""
    log = federation.folder / "serve.log"
    wanted = log.read_text().count("reloaded\n") + len(federation.servers)
    for server in federation.servers:
        server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while log.read_text().count("reloaded\n") < wanted:
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.05)


def test_the_root_changes_and_nobody_joins_again(federation, tmp_path):
    """Before: `early`, `late`. Between: `middle`. After: `fresh`. The id stays the same."""
    first = federation.trust
    early, late = (joined(federation, tmp_path / name, name) for name in ("early", "late"))
    receive(early)
    safe, new_safe = federation.folder / "safe", federation.folder / "safe-2"
    begun = operate(federation, "rotate-root", "--root-key", safe, "--new-root", new_safe)
    assert (begun["roots_version"], begun["finished"]) == (2, False)
    again = ff_coordinator(
        *("rotate-root", "--home", str(federation.home.root)),
        *("--root-key", str(safe), "--new-root", str(tmp_path / "third")),
    )
    assert (again["exit_code"], "under way" in again["message"]) == (2, True)
    hang_up(federation)

    assert receive(early).refused == {}
    assert (roots_version(early), len(early.trust.roots)) == (2, 2)
    middle = joined(federation, tmp_path / "middle", "middle")
    assert middle.trust.fingerprint == first.fingerprint
    assert receive(middle).refused == {}
    assert len(middle.trust.roots) == 2

    finished = operate(federation, "rotate-root", "--finish")
    assert (finished["roots_version"], finished["finished"]) == (3, True)
    # From here on the server shows a certificate that was issued after the change.
    key, home = make_key(), federation.home
    chain = issue_leaf(
        home.credential("issuing"),
        key.public_key(),
        Identity(first.federation_id, Role.COORDINATOR),
        Purpose.TLS_SERVER,
        now=utc_now(),
        lifetime=TLS_LIFETIME,
        hosts=home.settings().hosts,
    )
    home.write_credential("server", Credential(key, chain))
    hang_up(federation)
    fresh = joined(federation, tmp_path / "fresh", "fresh")
    for site in (early, middle, late, fresh):
        received = receive(site)
        assert (received.refused, received.warnings) == ({}, []), site.site_id
        assert roots_version(site) == 3
        assert [root_fingerprint(root) for root in site.trust.roots] == finished["fingerprints"]
        assert site.trust.federation_id == first.federation_id
        # Heads that were signed before, between and after hold with the new root alone.
        assert {"early", "middle"} <= set(load_heads(open_site(site.home)))
    assert fresh.trust.certificate != first.certificate
    assert renew(late, everything=True).renewed == ("tls", "signing")
    assert federation.trust.pem == open_site(late.home).trust.pem


# Last, since it changes the keys of the home that all share


def test_a_coordinator_serves_from_encrypted_keys(federation, site, tmp_path):
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery")
    done = operate(federation, "passphrase", "--set", "--new-passphrase-file", phrase)
    assert done["keys"] == 3
    keys = list(federation.home.root.rglob("*.key"))
    assert all(b"ENCRYPTED" in key.read_bytes() for key in keys)
    refused = ff_coordinator(
        "serve", "--home", str(federation.home.root), "--listen", "127.0.0.1:0"
    )
    assert (refused["exit_code"], refused["error_code"]) == (5, "passphrase")
    server = federation.start(arguments=("--passphrase-file", str(phrase)))
    with connect(server.endpoint, None, site.trust, site.credential("tls")) as client:
        client.get_federation()
        assert client.renew(make_request(make_key(), site.site_id), b"").tls_chain
    assert b"PRIVATE" not in b"".join(
        path.read_bytes() for path in federation.home.store_folder.rglob("*") if path.is_file()
    )
    assert server.stop() == 0
