"""The whole round as users do it: real processes, real TLS, real DICOM files, then a revocation."""

import csv
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client_agent.demo.datasets import load_demo_data
from client_agent.sources.write_dicom import write_dicom
from ff_protocol import canonical, dsse
from ff_protocol.certificates import chain_from_pem
from ff_protocol.clock import utc_now
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot
from tests.agents import agent, agent_json, finish, start_agent
from tests.federation import TestFederation, make_federation
from tests.homes import LENIENT

CLASSES = ("zero", "one", "two")
SITES = ("hospital-1", "hospital-2", "hospital-3")
SPEC = {
    "classes": list(CLASSES),
    "image": {"size": 8, "channels": 1},
    "synthesis": {"samples_per_class": 40, "batch_size": 20, "threads": 1},
    "classifier": {"epochs": 2, "threads": 1},
}


@dataclass
class Round:
    """A federation that has done one round, and what was seen on the way."""

    folder: Path
    federation: TestFederation
    seen: dict[str, Any] = field(default_factory=dict)

    def home(self, site: str) -> Path:
        return self.folder / site

    def classifier(self, site: str) -> bytes:
        return (self.home(site) / "classifier" / "classifier.onnx").read_bytes()

    def join(self, site: str) -> None:
        agent_json(self.home(site), "join", self.federation.invite(site))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Three hospitals join, run their rounds at the same time, and one then withdraws."""
    folder = tmp_path_factory.mktemp("federation")
    data = load_demo_data("digits", folder, 0)
    for label, (site, name) in enumerate(zip(SITES, CLASSES, strict=True)):
        members = np.flatnonzero(data.train_labels == label)[:60]
        for number, index in enumerate(members):
            path = folder / "images" / site / name / f"patient-{number:03d}" / "image"
            write_dicom(data.train_images[index], path, patient_id=f"{site}-{number}", seed=0)
    kept = data.test_labels < len(CLASSES)
    np.savez(
        folder / "test.npz",
        test_images=data.test_images[kept],
        test_labels=data.test_labels[kept, None],
        class_names=np.array(CLASSES),
    )
    with make_federation(folder, SPEC) as federation:
        made = Round(folder, federation)
        for site in SITES:
            made.join(site)
            (made.home(site) / "policy.yaml").write_text(LENIENT)
        running = [
            start_agent(
                *(made.home(site), "run", "--data", folder / "images" / site, "--steps", 10),
                *("--threads", 1, "--json"),
            )
            for site in SITES
        ]
        made.seen["rounds"] = [finish(process) for process in running]
        yield made


def test_three_hospitals_without_a_common_label_end_with_one_classifier(done):
    for finished in done.seen["rounds"]:
        assert finished.code == 0, finished.err
        assert finished.document["fitted"]["classes"] == list(CLASSES)
        assert len(finished.document["received"]["admitted"]) == 2
        assert finished.document["received"]["refused"] == {}
    assert len({done.classifier(site) for site in SITES}) == 1
    for site in SITES:
        status = agent_json(done.home(site), "status")
        assert set(status["heads"]) >= {site}  # the coordinator relays everyone's
        assert status["warnings"] == []


def test_the_home_holds_what_scripts_rely_on(done):
    home = done.home("hospital-1")
    for name in ("module.onnx", "card.json", "module.sig"):
        assert (home / "outbox" / "zero" / name).is_file()
    card = json.loads((home / "outbox" / "zero" / "card.json").read_bytes())
    assert {"membership_auc", "replayed_images"} <= set(card["memorisation"])
    for name in ("federation-ca.pem", "site.yaml", "log.jsonl", "classifier/classifier.onnx"):
        assert (home / name).is_file()
    assert len(list((home / "admitted").iterdir())) == 3
    assert len(list((home / "shards").iterdir())) == 3
    for key in (home / "keys").iterdir():
        assert key.stat().st_mode & 0o777 == 0o600


def test_no_image_and_no_count_left_the_hospital(done):
    store = done.federation.home.root / "store"
    for path in store.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"DICM" not in data[:200]
            assert b"hospital-1-0" not in data
            assert b"patient-0" not in data


def test_running_again_does_nothing_twice(done):
    home = done.home("hospital-1")
    before = {path: path.stat().st_mtime_ns for path in (home / "shards").rglob("*.npy")}
    document = agent_json(
        home, "run", "--data", done.folder / "images" / "hospital-1", "--steps", 10
    )
    assert document["trained"]["modules"] == []
    assert "already" in document["trained"]["kept"]["zero"]
    assert [item["already_there"] for item in document["sent"]["modules"]] == [True]
    (sent,) = document["sent"]["modules"]
    assert sent["bytes_sent"] < 4096 < sent["bytes_total"]  # the publication alone asks
    assert document["received"]["admitted"] == []
    assert document["fitted"]["already"] is True
    assert before == {path: path.stat().st_mtime_ns for path in (home / "shards").rglob("*.npy")}


def test_the_classifier_is_measured_and_used(done, tmp_path):
    home, test = done.home("hospital-2"), done.folder / "test.npz"
    evaluated = agent_json(home, "evaluate", "--data", test)
    figures = evaluated["figures"]
    assert evaluated["images"] == figures["images"] > 50
    assert 0 <= figures["accuracy"] <= 1
    assert set(figures["recall"]) == set(CLASSES)
    table = tmp_path / "labels.csv"
    assert agent(home, "predict", "--data", test, "--output", table).code == 0
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == evaluated["images"]
    right = sum(int(np.argmax([float(row[c]) for c in CLASSES]) == CLASSES.index(row["label"])) for row in rows)  # fmt: skip  # noqa: E501
    assert right == len(rows)
    written = tmp_path / "labels.json"
    assert agent(home, "predict", "--data", test, "--output", written).code == 0
    predictions = json.loads(written.read_text())["predictions"]
    assert [item["label"] for item in predictions] == [row["label"] for row in rows]


@pytest.mark.parametrize(
    "command", [["status"], ["inspect", "zero"], ["log"], ["log", "--verify"], ["fit"], ["send"]]
)
def test_json_is_one_document_and_people_get_lines(done, command):
    home = done.home("hospital-1")
    assert agent_json(home, *command)["status"] == "ok"
    finished = agent(home, *command)
    assert finished.code == 0
    assert finished.out.strip()
    assert "Traceback" not in finished.err
    assert agent(home, *command, "--quiet").out == ""


def newcomer(done: Round, name: str) -> bytes:
    """A site that joins now, receives and fits."""
    done.join(name)
    agent_json(done.home(name), "receive")
    agent_json(done.home(name), "fit")
    return done.classifier(name)


def test_after_a_revocation_everyone_is_as_if_the_module_had_never_been(done):
    """Ordered inside one test: it changes the federation that the others look at."""
    before = done.classifier("hospital-1")
    assert newcomer(done, "late-before") == before
    third = done.home("hospital-3")
    digest = agent_json(third, "status")["outbox"]["two"]["digest"]

    revoked = agent_json(third, "revoke", digest[:12], "--reason", "a patient withdrew")
    assert (revoked["scope"], revoked["relayed"]) == ("federation", True)
    for site in ("hospital-1", "hospital-2", "late-before"):
        received = agent_json(done.home(site), "receive")
        assert received["unlearned"]["modules"] == [digest]
        assert received["unlearned"]["classes"] == ["zero", "one"]

    never_had = newcomer(done, "late-after")
    everyone = (*SITES, "late-before")
    assert {done.classifier(site) for site in everyone} == {never_had}
    assert never_had != before
    for site in everyone:
        home = done.home(site)
        assert not list(home.glob(f"**/{digest}*/**/*.onnx"))
        assert not (home / "shards" / digest).exists()
        assert digest.encode() not in (home / "classifier" / "classifier.onnx").read_bytes()
        (certificate,) = (home / "certificates" / "unlearning").glob("*.dsse")
        (root,) = chain_from_pem((home / "federation-ca.pem").read_bytes())
        trust = TrustRoot(root, done.federation.trust.federation_id)
        payload = dsse.verify(certificate.read_bytes(), trust, (Role.SITE,), at=utc_now())
        assert payload.signer.site_id == site
        after = payload.value["predicate"]["after"]
        assert after["classifier"] == canonical.sha256_hex(never_had)
    assert not (done.home("late-after") / "admitted" / digest).exists()
    (certificate,) = (done.home("hospital-1") / "certificates" / "unlearning").glob("*.dsse")
    verified = agent_json(done.home("late-after"), "verify-unlearning", certificate, "--exact")
    assert (verified["outcome"], verified["modules"]) == ("identical", [digest])
    assert list(verified["statements"].values()) == [True]
    figures = agent_json(done.home("hospital-1"), "evaluate", "--data", done.folder / "test.npz")
    assert figures["figures"]["unknown"] == ["two"]
    assert figures["figures"]["recall"]["two"] == 0

    # Running the round again neither trains nor republishes what was withdrawn.
    data = done.folder / "images" / "hospital-3"
    again = agent_json(third, "run", "--data", data, "--steps", 10)
    assert "revoked" in again["trained"]["kept"]["two"]
    assert again["sent"] is None
    assert agent_json(third, "log", "--verify")["verified"] > 5


def test_the_stock_tool_verifies_what_was_received(done):
    import sys

    home = done.home("hospital-1")
    folder = next((home / "admitted").iterdir())
    command = [sys.executable, "-m", "model_signing", "verify", "certificate", str(folder)]
    command += ["--signature", str(folder / "module.sig")]
    command += ["--certificate_chain", str(home / "federation-ca.pem")]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert (finished.returncode, "succeeded" in finished.stdout) == (0, True), finished.stderr
