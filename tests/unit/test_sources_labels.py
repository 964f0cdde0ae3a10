"""Labels as hospitals have them: spreadsheets, attributes, names of their own. Nothing guessed."""

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from client_agent.errors import DataError, UsageError
from client_agent.sources.class_names import ClassNames
from client_agent.sources.groups import group_key
from client_agent.sources.label_map import Code, read_label_map
from client_agent.sources.label_tag import label_values, parse_label_tag
from client_agent.sources.labelled import LabelledImages
from client_agent.sources.labels import read_labels
from client_agent.sources.load import load_images
from client_agent.sources.write_dicom import write_dicom
from ff_protocol.errors import SpecError

CLASSES = ("glioma", "meningioma", "no-tumour")
EXAMPLE = Path(__file__).resolve().parents[2] / "configs" / "label-map.example.yaml"


def load(path: Path, **options: Any) -> LabelledImages:
    return load_images(path, **{"classes": CLASSES, "image_size": 8, "channels": 1, **options})


def dicom(path: Path, value: int = 100, patient: str = "P1", **attributes: Any) -> str:
    uid = write_dicom(np.full((8, 8, 1), value, np.uint8), path, patient_id=patient, seed=3)
    if attributes:
        dataset = dcmread(path)
        for name, content in attributes.items():
            setattr(dataset, name, content)
        dataset.save_as(path)
    return uid


def write_map(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


ROWS = "path;label;PatientID\nflat/0;Gliom;4711\nflat/1;Übriges;4712\n"


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + ROWS.encode(),
        ROWS.encode("cp1252"),
        ROWS.replace("\n", "\r\n").replace(";", "\t").encode("utf-16"),
        codecs.BOM_UTF16_BE + ROWS.encode("utf-16-be"),
        ("sep=;\r\n" + ROWS).encode(),
        ("\n\n" + ROWS.replace(";", ",")).encode(),
        ROWS.replace(";", "|").encode(),
        b'"' + ROWS.replace(";", '";"').replace("\n", '"\n"').encode()[:-1],
    ],
    ids=["bom", "cp1252", "utf-16-tabs", "utf-16-be", "sep", "commas", "bars", "quoted"],
)
def test_a_table_as_any_spreadsheet_writes_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    mapping = read_label_map(
        write_map(
            tmp_path / "m.yaml",
            "classes: {glioma: {names: [Gliom]}, no-tumour: {names: [Übriges]}}",
        ),
        CLASSES,
    )
    table = read_labels(tmp_path / "t.csv", ClassNames(CLASSES, mapping))
    assert table.labels == {"flat/0": 0, "flat/1": 2}
    assert table.groups == {"flat/0": group_key("4711"), "flat/1": group_key("4712")}


def test_bytes_of_no_encoding_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"path,label\n\x81,glioma\n")  # 81 is free in Windows-1252
    with pytest.raises(DataError, match="neither UTF-8") as caught:
        read_labels(tmp_path / "t.csv", ClassNames(CLASSES))
    assert "CSV UTF-8" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("SeriesInstanceUID,SOP Instance UID,Label", "sopinstanceuid"),
        ("StudyInstanceUID,series_instance_uid,class", "seriesinstanceuid"),
        ("Accession Number,label", "accessionnumber"),
        ("file,label", "path"),
    ],
)
def test_the_most_specific_identifier_is_the_key(tmp_path: Path, header: str, key: str) -> None:
    values = ",".join("glioma" if "l" in n.lower()[:2] else "1.2" for n in header.split(","))
    (tmp_path / "t.csv").write_text(f"{header}\n{values}\n")
    assert read_labels(tmp_path / "t.csv", ClassNames(CLASSES)).key == key


def test_one_image_two_patients_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label,patient\na,glioma,1\na,glioma,2\n")
    with pytest.raises(DataError, match=r"two patients: line 3"):
        read_labels(tmp_path / "t.csv", ClassNames(CLASSES))


def test_series_and_accession_numbers_label_all_their_images(tmp_path: Path) -> None:
    for number in range(2):
        dicom(tmp_path / "d" / f"{number}", number, AccessionNumber="A7", SeriesInstanceUID="1.7")
    dicom(tmp_path / "d" / "9", 9, AccessionNumber="A8", SeriesInstanceUID="1.8")
    for column, first, second in (
        ("SeriesInstanceUID", "1.7", "1.8"), ("AccessionNumber", "A7", "A8"),
    ):  # fmt: skip
        (tmp_path / "t.csv").write_text(f"{column},label\n{first},glioma\n{second},meningioma\n")
        data = load(tmp_path / "d", labels_csv=tmp_path / "t.csv")
        assert data.identifiers == ("0", "1", "9")
        assert data.labels.tolist() == [0, 0, 1]


def test_the_table_says_whose_image_it_is(tmp_path: Path) -> None:
    dicom(tmp_path / "a", patient="header")
    dicom(tmp_path / "b", patient="header")
    (tmp_path / "labels.csv").write_text("path,label,PatientID\na,glioma,table\nb,glioma,\n")
    assert load(tmp_path).groups == (group_key("table"), group_key("header"))


def test_copies_are_read_once_and_two_patients_with_one_uid_are_listed(tmp_path: Path) -> None:
    uid = dicom(tmp_path / "a" / "1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1").write_bytes((tmp_path / "a" / "1").read_bytes())
    (tmp_path / "labels.csv").write_text(f"SOPInstanceUID,label\n{uid},glioma\n")
    assert load(tmp_path).identifiers == (uid,)
    dataset = dcmread(tmp_path / "b" / "1")
    dataset.PatientID = "SECRET"
    dataset.save_as(tmp_path / "b" / "1")
    with pytest.raises(DataError, match=r"two patients: .*a/1, b/1") as caught:
        load(tmp_path)
    assert "SECRET" not in caught.value.message


def test_one_image_in_two_class_folders_is_a_conflict(tmp_path: Path) -> None:
    dicom(tmp_path / "glioma" / "1")
    (tmp_path / "meningioma").mkdir()
    (tmp_path / "meningioma" / "x").write_bytes((tmp_path / "glioma" / "1").read_bytes())
    with pytest.raises(
        DataError, match=r"1 images have two labels: glioma/1 \(glioma\) and meningioma/x"
    ):
        load(tmp_path)


def test_a_label_map_maps_folders_and_leaves_out_what_it_says(tmp_path: Path) -> None:
    for number, folder in enumerate(("Gliom", "c71.9", "D32.0", "UNKLAR", "no tumour")):
        dicom(tmp_path / folder / "a", number)
    data = load(tmp_path, label_map=EXAMPLE)
    assert dict(zip(data.identifiers, data.labels.tolist(), strict=True)) == {
        "Gliom/a": 0, "c71.9/a": 0, "D32.0/a": 1, "no tumour/a": 2,
    }  # fmt: skip
    assert data.codes == {
        "glioma": (Code("SCT", "393564001", "Glioma"), Code("RADLEX", "RID4026", "glioma"))
    }


def test_unmapped_names_are_all_listed_with_the_way_to_map_them(tmp_path: Path) -> None:
    for number in range(12):
        dicom(tmp_path / f"Ward {number:02d}" / "a")
    dicom(tmp_path / "Ward 00" / "b")
    dicom(tmp_path / "glioma" / "a")
    with pytest.raises(DataError, match=r"'Ward 00' \(2 images\).* and 2 more") as caught:
        load(tmp_path)
    assert "--label-map" in str(caught.value.hint)
    assert "classes: {glioma: {names: ['Ward 00'" in str(caught.value.hint)
    assert load(tmp_path, only_classes=["glioma"]).identifiers == ("glioma/a",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("classes: {gliom: {names: [a]}}", "not classes of this federation: 'gliom'"),
        ("classes: {glioma: {names: [x]}, meningioma: {names: [X]}}", "names of two classes: 'X'"),
        ("classes: {glioma: {names: [Meningioma]}}", "names of two classes: 'Meningioma'"),
        ("classes: {glioma: {names: [x]}}\nleave-out: [x]", "both mapped and left out: 'x'"),
        ("leave-out: [glioma]", "both mapped and left out"),
    ],
)
def test_a_label_map_that_contradicts_itself(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        read_label_map(write_map(tmp_path / "m.yaml", text), CLASSES)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("classes: {glioma: [a]}", "glioma"),
        ("classes: {glioma: {codes: ['393564001']}}", "SCT 393564001"),
        ("klassen: {}", "unknown key 'klassen'"),
        ("classes: {glioma: {names: [[a]]}}", "names"),
        ("{", "m.yaml"),
        ("- a", "expected keys"),
    ],
)
def test_a_label_map_that_breaks_the_schema(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        read_label_map(write_map(tmp_path / "m.yaml", text), CLASSES)


def test_numbers_and_codes_are_names_too(tmp_path: Path) -> None:
    text = "classes: {glioma: {names: [1, 2.5], codes: [SCT 393564001 Glioma]}}"
    names = ClassNames(CLASSES, read_label_map(write_map(tmp_path / "m.yaml", text), CLASSES))
    assert [names.find(name) for name in ("1", "2.5", "393564001", "3")] == [0, 0, 0, None]


def test_labels_from_an_attribute(tmp_path: Path) -> None:
    coded = Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator = "393564001", "SCT"
    dicom(tmp_path / "a", 1, BodyPartExamined="GLIOM", AnatomicRegionSequence=[coded])
    dicom(tmp_path / "b", 2, BodyPartExamined="MENINGIOMA")
    dicom(tmp_path / "c", 3)
    mapped = {"label_map": EXAMPLE}
    for tag in ("BodyPartExamined", "0018,0015", "(0018,0015)"):
        assert load(tmp_path, label_tag=tag, **mapped).labels.tolist() == [0, 1, 2]
    nested = load(tmp_path, label_tag="AnatomicRegionSequence.CodeValue", **mapped)
    assert nested.labels.tolist() == [0, 2, 2]
    with pytest.raises(DataError, match=r"'GLIOM' \(1 images\)"):
        load(tmp_path, label_tag="BodyPartExamined")


def test_an_attribute_with_values_of_two_classes_is_a_conflict(tmp_path: Path) -> None:
    dicom(tmp_path / "a", ImageType=["GLIOMA", "MENINGIOMA"])
    with pytest.raises(DataError, match=r"two classes: a \(GLIOMA, MENINGIOMA\)"):
        load(tmp_path, label_tag="ImageType")
    leave = write_map(tmp_path / "m.yaml", "leave-out: [DERIVED]")
    dicom(tmp_path / "a", ImageType=["GLIOMA ", "GLIOMA"])
    assert load(tmp_path, label_tag="ImageType", label_map=leave).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("tag", "match"),
    [
        ("Bodypart", "no attribute"),
        ("PatientName", "names a person"),
        ("PatientID", "names a person"),
        ("0010,4000", "names a person"),
        ("ReferringPhysicianName", "names a person"),
        ("SOPInstanceUID", "names a person or one object"),
        ("AccessionNumber", "names a person or one object"),
        ("AnatomicRegionSequence", "is a sequence"),
        ("a.b.c.d.e", "deeper"),
    ],
)
def test_attributes_that_are_no_labels(tag: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_label_tag(tag)


def test_values_of_odd_types() -> None:
    dataset = Dataset()
    dataset.add_new(0x00191001, "UN", b"glioma\0")
    dataset.PatientSex = None
    dataset.SeriesNumber = 7
    assert label_values(dataset, (0x00191001,)) == ("glioma",)
    assert label_values(dataset, parse_label_tag("PatientSex")) == ()
    assert label_values(dataset, parse_label_tag("SeriesNumber")) == ("7",)
    assert label_values(dataset, parse_label_tag("AnatomicRegionSequence.CodeValue")) == ()


def test_two_ways_of_labelling_at_once_are_refused(tmp_path: Path) -> None:
    dicom(tmp_path / "a")
    with pytest.raises(DataError, match="twice"):
        load(tmp_path, label_tag="BodyPartExamined", labels_csv=tmp_path / "t.csv")


def test_groups_and_the_map_apply_to_npz(tmp_path: Path) -> None:
    arrays = {
        "train_images": np.zeros((3, 8, 8), np.uint8),
        "train_labels": np.array([0, 1, 2]),
        "class_names": np.array(["HGG", "Meningeom", "unklar"]),
    }
    np.savez(tmp_path / "a.npz", **arrays, train_groups=np.array([["7"], [""], ["7"]]))
    data = load(tmp_path / "a.npz", label_map=EXAMPLE)
    assert data.labels.tolist() == [0, 1]
    assert data.groups == (group_key("7"), "")
    for groups in (np.array([7, 8, 7]), np.array([b"7", b"8", b"7"])):
        np.savez(tmp_path / "a.npz", **arrays, train_groups=groups)
        assert load(tmp_path / "a.npz", label_map=EXAMPLE).groups == (
            group_key("7"),
            group_key("8"),
        )
    for wrong in (np.zeros(3), np.zeros(2, int), np.zeros((3, 2), int)):
        np.savez(tmp_path / "a.npz", **arrays, train_groups=wrong)
        with pytest.raises(DataError, match="train_groups"):
            load(tmp_path / "a.npz", label_map=EXAMPLE)
