"""What is planted in images, names and tables at a hospital is nowhere outside it, in any form.

Real DICOM files with a patient in every header, real commands, a real coordinator. Then every byte
that the agents handed to gRPC, that the coordinator keeps or logs, that another site got, and that
lies in the home is searched (tests/leaks.py). Four records in the home may name files, since a
withdrawal needs them: they are listed in docs/threat-model.md and are 0600.
"""

import hashlib
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from client_agent.sources.write_dicom import write_dicom
from tests.agents import Finished, finish, start_agent
from tests.federation import make_federation
from tests.homes import LENIENT
from tests.leaks import Needles, files_below, record_requests

CLASSES = ("zero", "one", "two")
SPEC = {
    "classes": list(CLASSES),
    "image": {"size": 8, "channels": 1},
    "synthesis": {"samples_per_class": 20, "batch_size": 10, "threads": 1},
    "classifier": {"epochs": 1, "threads": 1},
}
HEADER = {
    "PatientName": "Vorontsova^Quintessa",
    "PatientID": "MRN-77316094",
    "AccessionNumber": "ACC552091771",
    "PatientBirthDate": "19510317",
    "StudyDate": "20190823",
    "InstitutionName": "St. Vortigern Infirmary Löwenzahn",
    "InstitutionAddress": "17 Hollyhock Embankment",
    "ReferringPhysicianName": "Bartholomeu^Anneliese",
    "OperatorsName": "Okonkwo-Lindqvist",
    "StationName": "CTSCANNER-QX7",
    "StudyDescription": "Verlaufskontrolle Glioblastom",
    "ImageComments": "seen by Dr. Zaltsberg",
    "DeviceSerialNumber": "SN-8849301-K",
    "StudyID": "STUDY4471XZ",
}
PRIVATE = "PRIVATE-SENTINEL-KX4471"
FOLDER, FILE = "ward-9-oncology-kirschblüte", "hagedorn-ludovica-mri"
COLUMN, NPZ, ARRAY = "surname_of_patient", "export-of-dr-marchbanks", "patients_of_marchbanks"
LISTED = "Haverstraw^Ottoline"
ALLOWED = ("training-images/", "withdrawn.json", "scan-index.sqlite")
"""Below the home: which images went into a module, as their source names them."""


def plant(image: np.ndarray, path: Path, number: int) -> str:
    """Write a DICOM file of a patient; return its SOP Instance UID."""
    import pydicom

    uid = write_dicom(image, path, patient_id=HEADER["PatientID"], seed=number)
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in HEADER.items():
        setattr(dataset, name, value)
    block = dataset.private_block(0x0099, "SENTINEL WORKS", create=True)
    block.add_new(0x01, "LO", PRIVATE)
    dataset.save_as(path, enforce_file_format=True)
    return uid


@dataclass
class Hospital:
    """The images that were planted, and what their hospital did with them."""

    folder: Path
    needles: Needles = field(default_factory=Needles)
    headers: Needles = field(default_factory=Needles)
    said: list[tuple[str, Finished]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def wire(self) -> Path:
        return self.folder / "wire"

    def run(self, *arguments: object, home: Path | None = None, code: int = 0) -> Finished:
        """Run a command of the hospital's, or of another's home, and keep what it says."""
        kept = f"from pathlib import Path; from tests.leaks import record_requests; record_requests(Path({str(self.wire)!r}))"  # noqa: E501
        done = finish(start_agent(home or self.home, *arguments, before=kept))
        assert done.code == code, (arguments, done.out, done.err)
        self.said.append((str(arguments[0]), done))
        return done

    def lay_out(self, digits: Path) -> tuple[Path, Path]:
        """Write a DICOM tree with a table of labels, and an .npz; note all that names anybody."""
        with np.load(digits) as file:
            images, labels = file["train_images"], file["train_labels"].reshape(-1)
        root = self.folder / "images" / FOLDER
        rows = [f"path,label,{COLUMN}"]
        for number, index in enumerate(np.flatnonzero(labels == 0)[:40]):
            path = root / f"{FILE}-{number:03d}.dcm"
            uid = plant(images[index], path, number)
            rows.append(f"{path.name},zero,{LISTED}")
            self.needles.text("SOP Instance UID", uid)
            self.needles.text("path", path.name)
            if number < 8:
                self.needles.raw("pixels", np.ascontiguousarray(images[index]).tobytes())
        self.damage(root, rows)
        (root / "labels.csv").write_text("\n".join(rows))
        npz = self.folder / f"{NPZ}.npz"
        ones = images[labels == 1][:30]
        np.savez(
            npz,
            train_images=ones,
            train_labels=np.ones((len(ones), 1), np.int64),
            class_names=np.array(CLASSES),
            **{ARRAY: np.array([LISTED] * 3)},
        )
        for needles in (self.needles, self.headers):
            for name, value in HEADER.items():
                parts = {value, value.replace("^", " "), *re.split(r"[\^ ]", value)}
                for part in sorted(part for part in parts if len(part) > 5):
                    needles.text(name, part)
            needles.text("PatientBirthDate", "1951-03-17")
            needles.text("private tag", PRIVATE)
            needles.text("label table", LISTED)
            needles.text("label table", COLUMN)
            group = hashlib.sha256(f"ff-patient/1\n\n{HEADER['PatientID']}".encode()).digest()[:8]
            needles.digest("patient group", "sha256", group)
        for name, value in (("folder", FOLDER), ("file", FILE), ("npz", NPZ), ("array", ARRAY)):
            self.needles.text(name, value)
        self.needles.text("path", str(self.folder))
        return root, npz

    def damage(self, root: Path, rows: list[str]) -> None:
        """Two files of a patient that cannot be read: cut off, and with nonsense in the header."""
        import pydicom

        whole = (root / f"{FILE}-000.dcm").read_bytes()
        (root / f"{FILE}-cut.dcm").write_bytes(whole[: len(whole) - 40])
        dataset = pydicom.dcmread(root / f"{FILE}-001.dcm")
        dataset.PhotometricInterpretation = HEADER["AccessionNumber"]
        dataset.save_as(root / f"{FILE}-odd.dcm", enforce_file_format=True)
        rows += [f"{FILE}-{name}.dcm,zero,{LISTED}" for name in ("cut", "odd")]


@pytest.fixture(scope="module")
def done(tmp_path_factory, digits):
    """A whole round of a hospital and a receiver, a withdrawal, a revocation, and some faults."""
    folder = tmp_path_factory.mktemp("hospital-of-ludovica")
    hospital = Hospital(folder)
    root, npz = hospital.lay_out(digits)
    outside = tmp_path_factory.mktemp("outside")
    brief = ("--steps", 2, "--threads", 1)
    with make_federation(outside, SPEC) as federation:
        server = federation.start(arguments=("--log-format", "json"))
        hospital.run("join", federation.invite("hospital-1"))
        # Classes as small as these, trained as briefly, would stay: what leaves is searched here.
        (hospital.home / "policy.yaml").write_text(LENIENT + "  require_audit: false\n")
        hospital.run("join", federation.invite("hospital-2"), home=outside / "other")
        table = ("--labels", root / "labels.csv")
        trained = hospital.run("train", "--data", root, *table, *brief, "--json")
        assert len(trained.document["skipped"]) == 2
        hospital.run("train", "--data", npz, "--classes", "one", *brief)
        hospital.run("send")
        hospital.run("receive", home=outside / "other")
        hospital.run("fit")
        listed = folder / "withdrawn.txt"
        listed.write_text(f"{FILE}-005.dcm\n{root / FILE}-006.dcm\n")
        hospital.run("withdraw", "--images", listed, "--reason", "a patient withdrew")
        hospital.run("receive", home=outside / "other")
        hospital.run("fit", home=outside / "other")
        hospital.run("revoke", "--site", "hospital-1", "--reason", "moved")
        for words in (("status",), ("inspect", "--json"), ("log",), ("doctor",)):
            hospital.run(*words, code=2 if words[0] == "inspect" else 0)
        hospital.run("bundle", "export", outside / "bundle.tar", "--all")
        faults(hospital, root, npz)
        assert server.stop() == 0
        yield hospital, outside


def faults(hospital: Hospital, root: Path, npz: Path) -> None:
    """Commands that fail over the images: what they say is part of what may leak."""
    broken = hospital.folder / "broken" / "zero"
    broken.mkdir(parents=True)
    for name in ("cut", "odd"):
        shutil.copy(root / f"{FILE}-{name}.dcm", broken / f"{name}.dcm")
    again = ("--steps", 2, "--threads", 1, "--retrain")
    hospital.run("train", "--data", broken.parent, *again, code=3)
    hospital.run("train", "--data", npz, "--split", "val", *again, code=3)
    hospital.run("predict", "--data", broken.parent, code=7)


def found(needles: Needles, *roots: Path) -> dict[str, list[str]]:
    """What is in each file that has something, and in its path below its root."""
    hits = {}
    for root in roots:
        for path in files_below(root):
            below = str(path.relative_to(root)).encode() if path != root else b""
            here = needles.found_in(path.read_bytes()) + needles.found_in(below)
            if here:
                hits[str(path)] = here
    return hits


def test_nothing_is_in_what_was_handed_to_the_network(done):
    hospital, _ = done
    methods = {path.name.partition("-")[0] for path in hospital.wire.iterdir()}
    assert {"Enrol", "PutChunks", "Publish", "ListStatements", "FindMissingChunks"} <= methods
    assert found(hospital.needles, hospital.wire) == {}


def test_nothing_is_at_the_coordinator_in_its_logs_or_at_the_other_site(done):
    hospital, outside = done
    assert any((outside / "coordinator" / "store" / "chunks").rglob("*"))
    assert "PutChunks" in (outside / "serve.log").read_text()
    assert any((outside / "other" / "shards").rglob("*.npy"))
    assert found(hospital.needles, outside) == {}


def test_in_the_home_only_the_lists_of_images_name_them_and_they_are_closed(done):
    hospital, _ = done
    hits = found(hospital.needles, hospital.home)
    named = {str(Path(name).relative_to(hospital.home)) for name in hits}
    assert {name for name in named if not name.startswith(ALLOWED)} == set()
    assert named, "the search would have found them"
    for name in named:
        assert (hospital.home / name).stat().st_mode & 0o777 == 0o600
        hits = hospital.headers.found_in((hospital.home / name).read_bytes())
        if name == "scan-index.sqlite":  # which images are of one patient: a hash, told in the docs
            hits = [hit for hit in hits if not hit.startswith("patient group")]
        assert hits == []


def test_the_terminal_names_files_and_no_patient(done):
    hospital, _ = done
    assert any(FILE in finished.out for _, finished in hospital.said)
    for command, finished in hospital.said:
        text = (finished.out + finished.err).encode()
        assert hospital.headers.found_in(text) == [], command
        assert b"Traceback" not in text


def test_the_recorder_sees_what_is_sent(tmp_path, monkeypatch):
    """A file name in a request would be seen: the search is not blind."""
    import grpc

    from ff_protocol.wire import relay_pb2, relay_pb2_grpc

    monkeypatch.setattr(grpc, "secure_channel", grpc.secure_channel)
    record_requests(tmp_path)
    with grpc.secure_channel("127.0.0.1:1", grpc.ssl_channel_credentials()) as channel:
        stub = relay_pb2_grpc.RelayStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.Publish(relay_pb2.PublishRequest(envelope=FILE.encode()), timeout=2)
    needles = Needles()
    needles.text("file", FILE)
    assert found(needles, tmp_path)
