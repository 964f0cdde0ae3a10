"""A site's key pairs: a renewal that is cut off anywhere leaves a pair that works."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import pytest

from client_agent import credentials
from client_agent.credentials import install_next, load_credential, next_key
from client_agent.errors import IdentityError, NetworkError, NotReadyError
from client_agent.home import Home
from client_agent.module.signing import sign_module
from client_agent.registry.heads import load_heads
from client_agent.registry.revocations import load_revocations
from client_agent.site import open_site
from client_agent.steps import renew as step
from client_agent.steps.heads import sign_heads
from client_agent.steps.renew import renew_if_due, validity
from client_agent.steps.revoke import sign_revocation
from coordinator.enrolment import renew as issue
from ff_protocol import dsse, key_encryption
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import (
    Purpose,
    certify_issuing,
    chain_to_pem,
    issue_leaf,
    make_key,
    make_root,
)
from ff_protocol.clock import utc_now
from ff_protocol.errors import UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.passphrase import Passphrase, act
from ff_protocol.trust import TrustRoot
from tests.homes import FEDERATION


@pytest.fixture
def site(authority, tmp_path):
    return authority.join(tmp_path / "home", "hospital-1")


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    """The parameters stand in the file: what is written cheaply is read cheaply."""
    monkeypatch.setattr(key_encryption, "SCRYPT_N", 2**10)
    monkeypatch.setattr(key_encryption, "SCRYPT_P", 1)


def identity():
    return Identity(FEDERATION, Role.SITE, "hospital-1")


class Relay:
    """The coordinator's issuing rule without a wire; `down` is a coordinator out of reach."""

    def __init__(self, authority, site, *, down=False):
        self.authority, self.site, self.down = authority, site, down

    def renew(self, tls_request, signing_request, voucher):
        if self.down:
            raise NetworkError("coordinator memory is not reachable")
        present = load_credential(self.site.home, "tls").leaf
        requests = tls_request, signing_request
        issued = issue(self.authority.issuing, identity(), present, requests, utc_now())
        return SimpleNamespace(tls_chain=issued.tls, signing_chain=issued.signing)


class PowerCut(BaseException):
    """Ends the process, as far as the code can tell."""


def steps_of(monkeypatch, stop_at):
    """Cut the power at the so-manieth change of the disk; return the counter."""
    count = {"done": 0}

    def counted(change):
        def wrapped(*arguments, **options):
            if count["done"] == stop_at:
                raise PowerCut
            count["done"] += 1
            return change(*arguments, **options)

        return wrapped

    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    return count


def old_certificate(authority, site, days):
    key = load_credential(site.home, "tls").key.public_key()
    chain = issue_leaf(
        authority.issuing,
        key,
        identity(),
        Purpose.TLS_CLIENT,
        now=utc_now() - dt.timedelta(days=days),
        lifetime=dt.timedelta(days=397),
    )
    site.home.certificate("tls").write_bytes(chain_to_pem(chain))


@pytest.mark.parametrize("stop_at", range(5))
def test_a_renewal_cut_off_anywhere_leaves_a_pair_and_can_be_repeated(
    authority, site, monkeypatch, stop_at
):
    old_certificate(authority, site, 300)
    relay = Relay(authority, site)
    with monkeypatch.context() as patched:
        count = steps_of(patched, stop_at)
        try:
            renew_if_due(site, relay)
            assert count["done"] == 4, "key, certificate, and two renames"
        except PowerCut:
            assert stop_at < 4
    pair = load_credential(site.home, "tls")
    assert pair.leaf.public_key() == pair.key.public_key()
    assert site.trust.verify(pair.chain, Purpose.TLS_CLIENT, Role.SITE, at=utc_now())
    renew_if_due(site, relay)
    assert not validity(site, utc_now())["tls"].due
    pair = load_credential(site.home, "tls")
    assert pair.leaf.public_key() == pair.key.public_key()
    left = sorted(path.name for path in site.home.key("tls").parent.iterdir())
    assert left == ["signing.key", "tls.key"]
    site.log.verify(())


def test_a_failed_renewal_is_a_warning_with_the_days_left(authority, site):
    old_certificate(authority, site, 380)
    notes = []
    progress = SimpleNamespace(note=notes.append)
    assert renew_if_due(site, Relay(authority, site, down=True), progress) == ()
    (note,) = notes
    assert "not reachable" in note
    assert "16 days are left" in note
    # The key that was made waits for the next attempt.
    waiting = next_key(site.home, "tls")
    assert renew_if_due(site, Relay(authority, site), progress) == ("tls",)
    assert load_credential(site.home, "tls").key.private_numbers() == waiting.private_numbers()


@pytest.mark.parametrize(
    "forge",
    [
        lambda a, key: issue_leaf(
            a.issuing, make_key().public_key(), identity(), Purpose.TLS_CLIENT, **life()
        ),
        lambda a, key: issue_leaf(a.issuing, key, identity(), Purpose.SIGNING, **life()),
        lambda a, key: issue_leaf(
            a.issuing,
            key,
            Identity(FEDERATION, Role.SITE, "hospital-2"),
            Purpose.TLS_CLIENT,
            **life(),
        ),
    ],
    ids=["another key", "another purpose", "another site"],
)
def test_an_answer_that_does_not_fit_changes_nothing(authority, site, forge):
    old_certificate(authority, site, 300)
    before = load_credential(site.home, "tls").leaf
    key = next_key(site.home, "tls").public_key()
    relay = SimpleNamespace(
        renew=lambda tls, signing, voucher: SimpleNamespace(
            tls_chain=chain_to_pem(forge(authority, key)), signing_chain=b""
        )
    )
    assert renew_if_due(site, relay) == ()
    assert load_credential(site.home, "tls").leaf == before


def life():
    return {"now": utc_now(), "lifetime": dt.timedelta(days=397)}


def test_a_key_that_fits_no_certificate_is_said(site):
    credentials.write_atomically(site.home.certificate("tls"), b"")
    site.home.certificate("tls").write_bytes(site.home.certificate("signing").read_bytes())
    with pytest.raises(IdentityError, match="not for this site's key"):
        load_credential(site.home, "tls")
    site.home.certificate("tls").unlink()
    with pytest.raises(NotReadyError, match=r"tls\.pem is missing"):
        load_credential(site.home, "tls")


def encrypted(site, tmp_path):
    phrase = tmp_path / "phrase"
    phrase.write_bytes(b"correct horse battery")
    act("set", credentials.key_files(site.home), Passphrase(), phrase)
    return Home(site.home.root, Passphrase(phrase))


def test_the_next_key_is_encrypted_as_the_present_one_is(authority, site, tmp_path):
    home = encrypted(site, tmp_path)
    request = make_request(next_key(home, "tls"), "hospital-1")
    present = load_credential(home, "tls").leaf
    issued = issue(authority.issuing, identity(), present, (request, b""), utc_now())
    install_next(home, "tls", issued.tls)
    assert load_credential(home, "tls").leaf != present
    assert all(b"ENCRYPTED" in path.read_bytes() for path in home.key("tls").parent.iterdir())


def test_a_module_signed_with_an_encrypted_key_verifies_after_a_change_of_root(
    authority, site, tmp_path
):
    from model_signing import verifying

    home = encrypted(site, tmp_path)
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "module.onnx").write_bytes(b"weights")
    (folder / "card.json").write_bytes(b"{}")
    sign_module(folder, home)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["home", "module", "phrase"]
    begins = authority.root.leaf.not_valid_before_utc
    new = make_root("test", utc_now(), begins=begins)
    issuing = authority.issuing
    certified = certify_issuing(
        new, issuing.key.public_key(), issuing.leaf.subject, utc_now(), begins=begins
    )
    both = TrustRoot(
        authority.root.leaf,
        FEDERATION,
        successor=new.leaf,
        issuing=(issuing.leaf, certified),
    )
    alone = TrustRoot(new.leaf, FEDERATION, issuing=(certified,))
    for trust in (TrustRoot(authority.root.leaf, FEDERATION), both, alone):
        ca = tmp_path / "federation-ca.pem"
        ca.write_bytes(trust.pem)
        verifying.Config().use_certificate_verifier(certificate_chain=[ca]).verify(
            folder, folder / "module.sig"
        )
    ca.write_bytes(chain_to_pem(make_root("test", utc_now()).chain))
    with pytest.raises(Exception, match="certificate"):
        verifying.Config().use_certificate_verifier(certificate_chain=[ca]).verify(
            folder, folder / "module.sig"
        )


def test_status_needs_no_key_and_says_what_is_due(authority, site):
    old_certificate(authority, site, 380)
    held = step.validity(site, utc_now())
    assert (held["tls"].days, held["tls"].due, held["signing"].due) == (16, True, False)


def test_what_was_accepted_in_time_stays_accepted_after_its_signers_end(
    authority, site, monkeypatch
):
    """Eleven years later: the home opens, and its revocations are still in force."""
    sign_revocation(site, ("d" * 64,), reason="")
    sign_heads(site)
    later = utc_now() + dt.timedelta(days=11 * 366)
    assert site.credential("signing").leaf.not_valid_after_utc < later
    for name in ("site", "registry.verified", "registry.heads"):
        monkeypatch.setattr(f"client_agent.{name}.utc_now", lambda: later)
    again = open_site(site.home)
    assert load_revocations(again.home, again.trust).covering("d" * 64, "hospital-1")
    assert set(load_heads(again)) == {"hospital-1"}
    # What comes in anew is judged by the present, and what begins later is not valid yet.
    (path,) = site.home.revocations.glob("*.dsse")
    envelope = path.read_bytes()
    with pytest.raises(UntrustedError, match="expired"):
        dsse.verify(envelope, again.trust, (Role.SITE,), at=later)
    before = utc_now() - dt.timedelta(days=2)
    with pytest.raises(UntrustedError, match="not valid before"):
        dsse.verify(envelope, again.trust, (Role.SITE,), at=before, held=True)
