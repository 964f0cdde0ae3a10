"""Forgetting, offline: what is left is bit-identical to never having had the module."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from client_agent.errors import UsageError
from client_agent.home import Home
from client_agent.registry.forgetting import forget_revoked, read_pending
from client_agent.registry.modules import own_modules, place
from client_agent.registry.revocations import RevocationList
from client_agent.registry.statements import store_publication
from client_agent.site import Site, open_site
from client_agent.steps import revoke as revoke_step
from client_agent.steps.fit import Fitted, fit
from client_agent.steps.revoke import finish_unlearning, revoke
from client_agent.steps.send import sign_publication
from client_agent.steps.status import status
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from ff_protocol import dsse, statements
from ff_protocol.clock import utc_now
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role


def share(sites: dict[str, Site], receiver: Site, senders: list[str]) -> dict[str, str]:
    """Put the senders' modules and publications into the receiver's home; digests by sender."""
    digests = {}
    for sender in senders:
        for name, folder in own_modules(sites[sender].home).items():
            digest, entries = describe_module(folder)
            place(folder, receiver.home.admitted(digest), copy=True)
            envelope = sign_publication(sites[sender], name, digest, entries)
            payload = dsse.verify(envelope, receiver.trust, (Role.SITE,), at=utc_now())
            publication = statements.read_publication(payload, max_module_bytes=2**26)
            store_publication(receiver.home, publication, envelope)
            digests[sender] = digest
    return digests


EVERYONE = ["hospital-1", "hospital-2", "hospital-3"]


@dataclasses.dataclass(frozen=True)
class BothFitted:
    """What hospital-1 made of all modules, hospital-2 of those of the first two."""

    folder: Path
    hospital_3: str
    with_it: Fitted
    without: Fitted


@pytest.fixture(scope="module")
def fitted(trained_homes, tmp_path_factory) -> BothFitted:
    """Homes to be copied: fitting takes seconds, and each test begins with the same two."""
    folder = tmp_path_factory.mktemp("fitted")
    made = {}
    for name, home in trained_homes.items():
        shutil.copytree(home, folder / name)
        made[name] = open_site(Home(folder / name))
    first, second = made["hospital-1"], made["hospital-2"]
    digest = share(made, first, EVERYONE)["hospital-3"]
    share(made, second, EVERYONE[:2])
    return BothFitted(folder, digest, fit(first), fit(second))


@pytest.fixture
def site(fitted, tmp_path) -> Site:
    """Hospital-1 with all modules and its classifier."""
    shutil.copytree(fitted.folder / "hospital-1", tmp_path / "site")
    return open_site(Home(tmp_path / "site"))


def traces(site: Site, digest: str) -> list[Path]:
    """Files whose path or content names the module, statements, record and certificates apart."""
    found = []
    for path in site.home.root.rglob("*"):
        kept = {"statements", "certificates", "log.jsonl", "unlearning.json", "keys"}
        if path.relative_to(site.home.root).parts[0] in kept or not path.is_file():
            continue
        if digest in str(path) or digest.encode() in path.read_bytes():
            found.append(path)
    return found


def test_a_local_revocation_ends_bit_identical_to_never_having_had_it(site, fitted):
    digest, before, never_had = fitted.hospital_3, fitted.with_it, fitted.without.classifier
    assert before.classifier != never_had
    assert before.classes == ("zero", "one", "two")
    assert traces(site, digest)

    revoked = revoke(site, of_site="hospital-3", reason="test")

    assert revoked.scope == "local"
    assert revoked.unlearned.classifier == never_had
    assert revoked.unlearned.classes == ("zero", "one")
    assert traces(site, digest) == []
    assert status(site)["missing_classes"] == ["two"]
    assert read_pending(site) is None


def test_the_certificate_verifies_and_names_both_states(site, sites, fitted):
    digest, before, never_had = fitted.hospital_3, fitted.with_it, fitted.without.classifier
    unlearned = revoke(site, module=digest[:10]).unlearned
    envelope = (site.home.unlearning_certificates / unlearned.certificate).read_bytes()
    payload = dsse.verify(envelope, sites["hospital-2"].trust, (Role.SITE,), at=utc_now())
    assert payload.signer.site_id == "hospital-1"
    assert payload.value["subject"] == [{"name": "module", "digest": {"sha256": digest}}]
    predicate = payload.value["predicate"]
    assert predicate["before"]["classifier"] == before.classifier
    assert predicate["after"]["classifier"] == never_had


def test_deleting_waits_for_nobody_and_rebuilding_can_be_left_to_fit(site, fitted):
    digest = fitted.hospital_3
    assert revoke(site, module=digest, rebuild=False).unlearned is None
    assert traces(site, digest) == []
    assert not site.home.classifier.exists()
    assert read_pending(site).modules == (digest,)
    again = fit(site)
    assert again.classifier == fitted.without.classifier
    assert again.certificate is not None


def test_revoking_twice_signs_once(sites):
    site = sites["hospital-1"]
    digest = share(sites, site, EVERYONE)["hospital-3"]
    assert revoke(site, module=digest).statement is not None
    again = revoke(site, module=digest)
    assert again.statement is None
    assert len(list(site.home.local_revocations.glob("*.dsse"))) == 1


@pytest.mark.parametrize("name", ["0" * 64, "abc", "", "../../etc"])
def test_an_unknown_or_too_short_name_revokes_nothing(sites, name):
    site = sites["hospital-1"]
    share(sites, site, EVERYONE)
    before = sorted(site.home.root.rglob("*"))
    with pytest.raises(UsageError, match=r"names 0 modules|give at least 8 digits"):
        revoke(site, module=name)
    with pytest.raises(UsageError, match="no module of"):
        revoke(site, of_site="hospital-77")
    assert sorted(site.home.root.rglob("*")) == before


def test_an_own_module_is_revoked_for_all_and_not_trained_again(sites, digits, monkeypatch):
    site = sites["hospital-1"]
    share(sites, site, EVERYONE)
    monkeypatch.setattr(revoke_step, "deliver_revocations", lambda *_: False)
    revoked = revoke(site, of_site="hospital-1")
    assert (revoked.scope, revoked.relayed) == ("federation", False)
    assert own_modules(site.home) == {}
    options = TrainOptions(data=digits, classes=("zero",), steps=5, threads=1)
    assert "revoked" in train(site, options).kept["zero"]


def test_a_classifier_that_never_knew_the_module_stays(sites, fitted, tmp_path):
    shutil.copytree(fitted.folder / "hospital-2", tmp_path / "site")
    site = open_site(Home(tmp_path / "site"))  # fitted without hospital-3
    before = site.home.classifier.stat().st_mtime_ns
    share(sites, site, ["hospital-3"])
    unlearned = revoke(site, module=fitted.hospital_3).unlearned
    assert unlearned.classifier == fitted.without.classifier
    assert site.home.classifier.stat().st_mtime_ns == before


def test_nothing_pending_nothing_happens(sites):
    site = sites["hospital-1"]
    assert forget_revoked(site, RevocationList()) is None
    assert finish_unlearning(site) is None
