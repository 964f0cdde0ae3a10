"""`ff-agent scan` as a site admin calls it: with and without a home, on sound and on bad data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from client_agent.errors import DataError, UsageError
from client_agent.sources.options import SourceOptions
from client_agent.steps.scan import ScanOptions, scan
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from tests.agents import agent, agent_json
from tests.dicom_files import PIXELS, make_dataset, write, write_bad
from tests.homes import make_authority


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import agents

    monkeypatch.setitem(agents.ENVIRONMENT, "XDG_CACHE_HOME", str(tmp_path / "cache"))


def dicom(path: Path, **attributes: object) -> Dataset:
    dataset = make_dataset(PIXELS, **attributes)
    write(dataset, path)
    return dataset


def test_without_a_home_folders_are_classes_and_everything_odd_is_shown(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = dicom(data / "gliom" / "1", PatientID="A", Modality="CT")
    dicom(data / "gliom" / "2", PatientID="B", Modality="CT", BurnedInAnnotation="YES")
    dicom(data / "normal" / "1", PatientID="A", SOPInstanceUID=first.SOPInstanceUID)
    dicom(data / "normal" / "2", PatientID="C", SOPInstanceUID=first.SOPInstanceUID)
    write_bad(data / "normal" / "bad")
    (data / "notes.txt").write_text("x")
    sheet = tmp_path / "sheet.png"
    done = agent_json(tmp_path / "none", "scan", "--data", data, "--sheet", sheet)
    assert (done["classes"], done["of_federation"]) == (["gliom", "normal"], False)
    figures = done["overview"]
    rows = [(row["class_name"], row["modality"], row["patients"]) for row in figures["rows"]]
    assert rows == [("gliom", "CT", 1), ("normal", "OT", 3)]
    reasons = {item["reason"]: item["files"] for item in figures["refused"]}
    assert reasons["truncated: fewer bytes than it declares"] == 2, reasons
    assert sum(reasons.values()) == 12
    (shared,) = figures["shared_uids"]
    assert "gliom/1 and normal/1" in shared
    assert "(gliom, normal)" in figures["conflicts"][0]
    assert done["other_files"] == {".txt": 1}
    assert (done["sheet_rows"], done["files"]) == (["gliom", "normal"], 16)
    assert sheet.stat().st_mode & 0o777 == 0o600
    with Image.open(sheet) as picture:
        assert picture.size == (16 * 66, 2 * 66)
        assert picture.getextrema()[1] > 200
    again = agent(tmp_path / "none", "scan", "--data", data)
    assert again.code == 0, again.err
    assert "text is burned into the pixels" in again.out
    assert "SECRET" not in again.out + json.dumps(done)
    assert not (tmp_path / "none").exists()


def test_a_home_compares_with_the_federation_and_keeps_the_index(authority, tmp_path: Path) -> None:
    authority.join(tmp_path / "home", "hospital-1")
    data = tmp_path / "data"
    dicom(data / "zero" / "1", BodyPartExamined="ZERO")
    dicom(data / "Station 3" / "1", BodyPartExamined="NULL")
    figures = agent_json(tmp_path / "home", "scan", "--data", data)["overview"]
    assert figures["unmapped"] == {"Station 3": 1}
    assert [row["class_name"] for row in figures["rows"]] == ["zero", "(no class)"]
    assert (tmp_path / "home" / "scan-index.sqlite").stat().st_mode & 0o777 == 0o600
    (tmp_path / "map.yaml").write_text("classes: {one: {names: ['NULL']}}")
    mapped = agent_json(
        tmp_path / "home", "scan", "--data", data, "--label-tag", "BodyPartExamined",
        "--label-map", tmp_path / "map.yaml",
    )["overview"]  # fmt: skip
    assert mapped["unmapped"] == {}
    assert [row["class_name"] for row in mapped["rows"]] == ["zero", "one"]


@pytest.mark.parametrize(
    ("data", "options", "error", "words"),
    [
        ("nowhere", {}, DataError, "no such file"),
        ("empty", {}, DataError, "no images"),
        ("x.npz", {}, DataError, "damaged .npz"),
        ("x.npz", {"label_tag": "Modality"}, UsageError, "not with a file"),
        ("empty", {"window": "lungs"}, UsageError, "lungs"),
        ("empty", {"frame": "0"}, UsageError, "'0'"),
        ("empty", {"label_tag": "PatientName"}, UsageError, "names a person"),
    ],
)
def test_what_cannot_be_scanned(
    tmp_path: Path, data: str, options: dict[str, str], error: type[Exception], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.npz").touch()
    with pytest.raises(error, match=words):
        scan(ScanOptions(tmp_path / data, source=SourceOptions(**options)), index=tmp_path / "i")


def test_a_server_without_encryption_is_refused_by_the_command(tmp_path: Path) -> None:
    done = agent(tmp_path / "none", "scan", "--data", "dicomweb:http://pacs.example/x")
    assert done.code == 2
    assert "without encryption" in done.err
    assert "Traceback" not in done.err


def test_a_site_cannot_train_through_a_window_of_its_own(tmp_path: Path) -> None:
    site = make_authority(preparation={"window": "lung"}).join(tmp_path / "home", "hospital-1")
    options = TrainOptions(tmp_path / "data", source=SourceOptions(window="bone"))
    with pytest.raises(UsageError, match="contradicts the federation's window lung"):
        train(site, options)
    own = scan(
        ScanOptions(write(make_dataset(PIXELS), tmp_path / "data" / "1").parent,
                    source=SourceOptions(window="lung")),
        spec=site.spec, index=tmp_path / "i",
    )  # fmt: skip
    assert own.warnings == ()


@pytest.mark.parametrize("named", [True, False])
def test_an_npz_file_is_counted_by_split(tmp_path: Path, digits: Path, named: bool) -> None:
    with np.load(digits) as file:
        arrays = {key: file[key] for key in file.files if named or key != "class_names"}
    np.savez(tmp_path / "a.npz", **arrays, test_groups=np.arange(60) // 2)
    looked = scan(ScanOptions(tmp_path / "a.npz"), spec=make_authority().spec, index=tmp_path / "i")
    rows = {(row.class_name, row.modality): row for row in looked.overview.rows}
    zeros = int((arrays["train_labels"] == 0).sum())
    assert rows["zero", "npz train"].images == rows["zero", "npz train"].unknown_patients == zeros
    assert rows["zero", "npz test"].unknown_patients == 0
    assert rows["zero", "npz test"].sizes == (("8 x 8", rows["zero", "npz test"].files),)
    some = ScanOptions(tmp_path / "a.npz", split="test")
    (row,) = {row.modality for row in scan(some, index=tmp_path / "i").overview.rows}
    assert row == "npz test"
    with pytest.raises(DataError, match="no folder 'val'"):
        scan(replace(some, split="val"), index=tmp_path / "i")
    # The federation here knows two of the three digits.
    assert list(looked.overview.unmapped) == ["two" if named else "2"]
