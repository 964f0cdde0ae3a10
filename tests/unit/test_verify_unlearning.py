"""Certificates are checked by doing it again: equal bits, named differences, exit codes."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from client_agent.classifier.settings import RECIPE
from client_agent.errors import NotReadyError, RefusedError, UsageError
from client_agent.home import Home
from client_agent.site import Site, open_site
from client_agent.steps import verify_unlearning as step
from client_agent.steps.fit import fit
from client_agent.steps.reproducibility import differences, fit_reproducibility
from client_agent.steps.revoke import revoke
from client_agent.steps.verify_unlearning import (
    Comparison,
    Outputs,
    compare_outputs,
    decide,
    read_certificate,
    verify_unlearning,
)
from ff_protocol import canonical, dsse
from ff_protocol.clock import utc_now
from ff_protocol.errors import ExitCode, FederatedFactoryError, MalformedError, UntrustedError
from ff_protocol.names import Role
from ff_protocol.unlearning import Probe, Unlearning, build_unlearning, read_unlearning
from tests.agents import ENVIRONMENT, agent
from tests.unit.test_unlearning import EVERYONE, share


@dataclasses.dataclass(frozen=True)
class Done:
    """A site that has forgotten hospital-3's module, another with the same modules."""

    folder: Path
    certificate: Path

    def copy(self, site: str, to: Path) -> Site:
        shutil.copytree(self.folder / site, to / site)
        return open_site(Home(to / site))

    def unlearning(self) -> Unlearning:
        return read_certificate(open_site(Home(self.folder / "hospital-1")), self.certificate)

    def forged(self, to: Path, **changes: object) -> Path:
        """The same certificate with another state after, signed by the same site."""
        good = self.unlearning()
        after = dataclasses.replace(good.after, **changes)
        return self.signed(to, dataclasses.replace(good, after=after))

    def signed(self, to: Path, unlearning: Unlearning, name: str = "signing") -> Path:
        site = open_site(Home(self.folder / "hospital-1"))
        to.write_bytes(dsse.sign(build_unlearning(unlearning), site.credential(name)))
        return to


@pytest.fixture(scope="module")
def done(trained_homes, tmp_path_factory) -> Done:
    folder = tmp_path_factory.mktemp("verified")
    sites = {}
    for name, home in trained_homes.items():
        shutil.copytree(home, folder / name)
        sites[name] = open_site(Home(folder / name))
    first = sites["hospital-1"]
    share(sites, first, EVERYONE)
    share(sites, sites["hospital-2"], EVERYONE[:2])
    fit(first)
    revoked = revoke(first, of_site="hospital-3", reason="a test")
    name = revoked.unlearned.certificate
    return Done(folder, first.home.unlearning_certificates / name)


def test_the_site_itself_verifies_without_looking_at_its_shards_or_classifier(done, tmp_path):
    site = done.copy("hospital-1", tmp_path)
    for path in (*site.home.shards.rglob("*.npy"), site.home.classifier):
        path.write_bytes(b"rubbish")
    before = sorted(path for path in site.home.root.rglob("*"))
    found = verify_unlearning(site, done.certificate)
    assert found.outcome == "identical"
    assert found.differences == {}
    assert all(item.equal for item in found.comparisons)
    assert len(found.comparisons) == 5  # two modules, data set, classes, classifier
    assert list(found.statements.values()) == [True]
    assert sorted(path for path in site.home.root.rglob("*")) == before
    *_, last = site.log.entries()
    assert (last["event"], last["details"]["outcome"]) == ("verified", "identical")


def test_another_site_in_a_fresh_process_with_any_thread_setting_gets_the_same_bits(
    done, tmp_path, monkeypatch
):
    """The certificate was made with one thread; this process is told to use two."""
    other = done.copy("hospital-2", tmp_path)
    shutil.rmtree(other.home.root / "keys")  # as an auditor would get it
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setitem(ENVIRONMENT, name, "2")
    finished = agent(other.home.root, "verify-unlearning", done.certificate, "--exact", "--json")
    assert finished.code == 0, finished.err
    document = finished.document
    assert document["outcome"] == "identical"
    assert all(item["equal"] for item in document["comparisons"])
    # The other site never heard of the first one's local revocation, and says so.
    assert list(document["statements"].values()) == [False]
    assert document["reproducibility"]["threads"] == {"classifier": 1, "synthesis": 1}


def test_a_certificate_that_does_not_come_out_is_exit_code_11(done, tmp_path):
    site = done.copy("hospital-2", tmp_path)
    lie = done.forged(tmp_path / "lie.dsse", classifier="0" * 64)
    finished = agent(site.home.root, "verify-unlearning", lie)
    assert finished.code == ExitCode.MISMATCH == 11
    assert "DIFFERENT classifier" in finished.out
    assert "NOT VERIFIED" in finished.out
    assert "another class" not in finished.out


def test_on_another_kind_of_machine_it_says_so_and_compares_outputs(done, tmp_path, monkeypatch):
    """What is rebuilt is real; the certificate comes from a machine with another torch."""
    site = done.copy("hospital-2", tmp_path)
    good = done.unlearning().after
    elsewhere = {**good.reproducibility, "torch": "1.0", "instruction_set": ["avx2"]}
    foreign = done.forged(tmp_path / "foreign.dsse", classifier="0" * 64, reproducibility=elsewhere)
    rebuilt = step._rebuild(site, good, step.SILENT)
    monkeypatch.setattr(step, "_rebuild", lambda *arguments: rebuilt)
    found = verify_unlearning(site, foreign)
    assert found.outcome == "within_tolerance"
    assert found.differences["torch"] == ("1.0", good.reproducibility["torch"])
    assert set(found.differences) == {"torch", "instruction_set"}
    assert found.outputs == Outputs(0, 0.0, 1.0)

    far = Probe(good.probe.blocks, tuple(row[::-1] for row in good.probe.probabilities))
    unlike = done.forged(
        tmp_path / "unlike.dsse", classifier="0" * 64, reproducibility=elsewhere, probe=far
    )
    assert verify_unlearning(site, unlike).outcome == "different"


DIFFERS = (Comparison("classifier", "a", "b"),)
EQUAL = (Comparison("classifier", "a", "a"),)
CLOSE, FAR = Outputs(1, 0.01, 1.0), Outputs(1, 0.2, 1.0)


@pytest.mark.parametrize(
    ("comparisons", "outputs", "same_class", "outcome"),
    [
        (EQUAL, CLOSE, True, "identical"),
        (EQUAL, CLOSE, False, "identical"),
        (DIFFERS, CLOSE, True, "different"),  # within one class bits decide
        (DIFFERS, CLOSE, False, "within_tolerance"),
        (DIFFERS, FAR, False, "different"),
        (DIFFERS, Outputs(9, 0.0, 1.0), False, "different"),
        (DIFFERS, Outputs(0, 0.0, 0.5), False, "different"),
    ],
)
def test_bits_decide_within_a_class_and_outputs_across(comparisons, outputs, same_class, outcome):
    assert decide(comparisons, outputs, same_class=same_class) == outcome


def test_outputs_are_measured_as_documented():
    left = Probe(((0, 255), (10, 20)), ((10000, 0), (2000, 8000)))
    right = Probe(((2, 255), (10, 15)), ((9000, 1000), (6000, 4000)))
    assert compare_outputs(left, right) == Outputs(5, 0.25, 0.5)
    assert compare_outputs(left, Probe(((1, 1),), ((1, 1),))) == Outputs(255, 1.0, 0.0)


def test_the_class_names_threads_versions_and_whatever_caps_the_instruction_set(
    authority, monkeypatch
):
    plain = fit_reproducibility(authority.spec)
    assert {"torch", "onnxruntime", "numpy", "instruction_set", "threads"} <= set(plain)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert set(differences(plain, fit_reproducibility(authority.spec))) == {"overrides"}


def test_another_recipe_is_another_class(authority, monkeypatch):
    plain = fit_reproducibility(authority.spec)
    monkeypatch.setattr("client_agent.steps.reproducibility.RECIPE", RECIPE + 1)
    now = fit_reproducibility(authority.spec)
    assert differences(plain, now) == {"recipe": (RECIPE, RECIPE + 1)}


def test_a_tampered_certificate_is_refused(done, tmp_path):
    site = done.copy("hospital-2", tmp_path)
    good = done.certificate.read_bytes()
    for number, damaged in enumerate(
        (
            good.replace(b'"payload":"e', b'"payload":"f'),
            good[:-50],
            b"",
            good.replace(b'"sig":"M', b'"sig":"N'),
        )
    ):
        path = tmp_path / f"{number}.dsse"
        path.write_bytes(damaged)
        with pytest.raises((MalformedError, UntrustedError)):
            verify_unlearning(site, path)
    with pytest.raises(UntrustedError, match="not for signing"):
        verify_unlearning(site, done.signed(tmp_path / "tls.dsse", done.unlearning(), "tls"))
    with pytest.raises(UsageError, match="cannot read certificate"):
        verify_unlearning(site, tmp_path / "missing.dsse")
    assert "verified" not in {entry["event"] for entry in site.log.entries()}


def test_a_certificate_that_contradicts_itself_or_its_revocation_is_refused(done, tmp_path):
    good = done.unlearning()
    used = good.after.portions[0].module
    contradiction = dataclasses.replace(good, modules=(used,))
    path = done.signed(tmp_path / "contradiction.dsse", contradiction)
    with pytest.raises(MalformedError, match="contradicts itself"):
        verify_unlearning(open_site(Home(done.folder / "hospital-1")), path)
    site = done.copy("hospital-1", tmp_path)
    more = dataclasses.replace(good, modules=("e" * 64,))
    with pytest.raises(RefusedError, match="no revocation that it names covers it"):
        verify_unlearning(site, done.signed(tmp_path / "uncovered.dsse", more))
    ordered_by_nobody = dataclasses.replace(good, statements=())
    with pytest.raises(RefusedError):
        verify_unlearning(site, done.signed(tmp_path / "unordered.dsse", ordered_by_nobody))


def test_without_a_module_that_is_needed_it_is_not_ready(done, tmp_path):
    site = done.copy("hospital-2", tmp_path)
    for portion in done.unlearning().after.portions:
        shutil.rmtree(site.home.admitted(portion.module))
    with pytest.raises(NotReadyError, match="is not here"):
        verify_unlearning(site, done.certificate)
    other_spec = done.forged(tmp_path / "spec.dsse", spec="0" * 64)
    with pytest.raises(NotReadyError, match="another federation spec"):
        verify_unlearning(site, other_spec)


def test_a_certificate_survives_signing_and_reading(done):
    site = open_site(Home(done.folder / "hospital-1"))
    good = done.unlearning()
    payload = dsse.verify(
        dsse.sign(build_unlearning(good), site.credential("signing")),
        site.trust,
        (Role.SITE,),
        at=utc_now(),
    )
    assert read_unlearning(payload) == dataclasses.replace(good, digest=payload.digest)


@pytest.mark.parametrize(
    "change",
    [
        {"probe": {"blocks": [], "probabilities": []}},
        {"probe": {"blocks": [[256] * 16], "probabilities": [[1, 1]]}},
        {"portions": []},
        {"classifier": "x"},
        {"unknown": 1},
    ],
)
def test_malformed_states_are_refused(done, change):
    site = open_site(Home(done.folder / "hospital-1"))
    value = build_unlearning(done.unlearning())
    value["predicate"]["after"] |= change
    envelope = dsse.sign(value, site.credential("signing"))
    payload = dsse.verify(envelope, site.trust, (Role.SITE,), at=utc_now())
    with pytest.raises(FederatedFactoryError):
        read_unlearning(payload)


def test_the_probe_holds_no_image(done):
    probe = done.unlearning().after.probe
    assert all(len(row) == 16 for row in probe.blocks)  # 4 x 4 means of an 8 x 8 image
    assert len(canonical.dumps(probe.to_dict())) < 20_000
    assert np.all(np.abs(np.array(probe.probabilities).sum(axis=1) - 10_000) < 5)
