"""`load_images` over folders, labels.csv and .npz: classes, limits, order and privacy."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client_agent.errors import DataError
from client_agent.sources.labelled import LabelledImages
from client_agent.sources.load import load_images, load_unlabelled
from client_agent.sources.write_dicom import write_dicom

CLASSES = ("normal", "lobar pneumonia", "COVID-19")


def load(path: Path, **options: Any) -> LabelledImages:
    options = {"classes": CLASSES, "image_size": 8, "channels": 1, **options}
    return load_images(path, **options)


def picture(path: Path, value: int = 100, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


def dicom(path: Path, value: int = 100, patient: str = "P1") -> str:
    image = np.full((8, 8, 1), value, np.uint8)
    return write_dicom(image, path, patient_id=patient, seed=3)


def test_a_mixed_tree(tmp_path: Path) -> None:
    picture(tmp_path / "normal" / "b.png", 10)
    picture(tmp_path / "Lobar_Pneumonia" / "x" / "a.jpg", 20, size=(16, 16))
    dicom(tmp_path / "covid 19" / "patient" / "series" / "IM0001", 30)
    dicom(tmp_path / "normal" / "1.2.840.77", 40, patient="P2")
    for noise in ("DICOMDIR", "normal/.hidden.png", "normal/readme.txt", "README", ".git/a.png"):
        (tmp_path / noise).parent.mkdir(exist_ok=True)
        (tmp_path / noise).write_text("not an image")
    seen: list[tuple[int, int]] = []
    data = load(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert data.identifiers == (
        "Lobar_Pneumonia/x/a.jpg", "covid 19/patient/series/IM0001", "normal/1.2.840.77",
        "normal/b.png",
    )  # fmt: skip
    assert data.labels.tolist() == [1, 2, 0, 0]
    assert data.images[:, 0, 0, 0].tolist() == [20, 30, 40, 10]
    assert (data.images.dtype, data.images.shape) == (np.uint8, (4, 8, 8, 1))
    assert (data.classes, data.skipped) == (CLASSES, ())
    assert data.groups[0] == data.groups[3] == "" != data.groups[1] != data.groups[2]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_nearest_folder_decides(tmp_path: Path) -> None:
    picture(tmp_path / "normal" / "covid-19" / "deep" / "a.png")
    assert load(tmp_path).labels.tolist() == [2]


def test_the_folder_itself_may_name_the_class(tmp_path: Path) -> None:
    picture(tmp_path / "normal" / "a.png")
    assert load(tmp_path / "normal").labels.tolist() == [0]


def test_split_folders(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "normal" / "a.png")
    picture(tmp_path / "test" / "covid-19" / "a.png")
    assert load(tmp_path).identifiers == ("train/normal/a.png",)
    assert load(tmp_path, split="test").identifiers == ("test/covid-19/a.png",)
    with pytest.raises(DataError, match="'val'"):
        load(tmp_path, split="val")


def test_unknown_class_names_folder_classes_and_the_closest(tmp_path: Path) -> None:
    picture(tmp_path / "normall" / "a.png")
    with pytest.raises(DataError, match="'normall'") as caught:
        load(tmp_path)
    assert caught.value.hint is not None
    assert "COVID-19" in caught.value.hint
    assert "did you mean 'normal'?" in caught.value.hint


def test_only_classes_ignores_other_folders_and_insists_on_its_own(tmp_path: Path) -> None:
    picture(tmp_path / "normal" / "a.png")
    picture(tmp_path / "Covid_19" / "a.png")
    picture(tmp_path / "fracture" / "a.png")
    assert load(tmp_path, only_classes=["covid-19"]).labels.tolist() == [2]
    with pytest.raises(DataError, match="no images of class 'lobar pneumonia'"):
        load(tmp_path, only_classes=["normal", "lobar pneumonia"])
    with pytest.raises(DataError, match="fracture"):
        load(tmp_path, only_classes=["fracture"])


@pytest.mark.parametrize("make", [False, True])
def test_nothing_to_read(tmp_path: Path, make: bool) -> None:
    path = tmp_path / "x"
    if make:
        (path / "normal").mkdir(parents=True)
    with pytest.raises(DataError):
        load(path)
    with pytest.raises(DataError):
        load_unlabelled(path, image_size=8, channels=1)


def test_a_class_of_which_nothing_is_readable(tmp_path: Path) -> None:
    for index in range(30):
        picture(tmp_path / "normal" / f"{index}.png")
    (tmp_path / "covid-19").mkdir()
    (tmp_path / "covid-19" / "a.png").write_bytes(b"damaged")
    assert len(load(tmp_path).images) == 30
    with pytest.raises(DataError, match="COVID-19"):
        load(tmp_path, only_classes=["normal", "covid-19"])


def test_one_corrupt_among_a_thousand_is_skipped_counted_and_named(tmp_path: Path) -> None:
    for index in range(1000):
        dicom(tmp_path / "normal" / f"{index:04d}.dcm", value=index % 256)
    victim = tmp_path / "normal" / "0500.dcm"
    victim.write_bytes(victim.read_bytes()[:-40])
    data = load(tmp_path)
    assert len(data.images) == len(data.labels) == len(data.groups) == 999
    assert [item.identifier for item in data.skipped] == ["normal/0500.dcm"]
    assert data.images[500, 0, 0, 0] == 501 % 256  # its neighbours kept their own pixels


@pytest.mark.parametrize(("bad", "stops"), [(5, False), (6, True)])
def test_more_than_five_percent_stops(tmp_path: Path, bad: int, stops: bool) -> None:
    for index in range(100):
        picture(tmp_path / "normal" / f"{index:03d}.png")
    for index in range(bad):
        (tmp_path / "normal" / f"{index:03d}.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    if not stops:
        assert len(load(tmp_path).skipped) == bad
        return
    with pytest.raises(DataError, match=r"6 of 100 .*normal/000\.png.* and 1 more"):
        load(tmp_path)


def test_an_unreadable_file_is_named() -> None:
    """Root may read anything, so the test steps down for a moment."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for index in range(30):
            picture(root / "normal" / f"{index:02d}.png")
        dicom(root / "normal" / "z.dcm")
        load(root)  # every lazy import is done
        (root / "normal" / "07.png").chmod(0)
        (root / "normal" / "z.dcm").chmod(0)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(DataError) as caught:
                load(root)
        finally:
            os.seteuid(was)
        assert "2 of 31" in caught.value.message
        assert caught.value.hint == "the first: permission denied"


def test_links_are_followed_inside_only_and_never_round(tmp_path: Path) -> None:
    root = tmp_path / "data"
    picture(root / "normal" / "a.png")
    picture(tmp_path / "outside" / "b.png")
    (root / "normal" / "out.png").symlink_to(tmp_path / "outside" / "b.png")
    (root / "normal" / "outdir").symlink_to(tmp_path / "outside")
    (root / "normal" / "round").symlink_to(root)
    (root / "covid-19").mkdir()
    (root / "covid-19" / "in.png").symlink_to(root / "normal" / "a.png")
    assert load(root).identifiers == ("covid-19/in.png", "normal/a.png")


def test_labels_by_uid_and_by_path(tmp_path: Path) -> None:
    uids = [dicom(tmp_path / "flat" / f"{index}", value=index) for index in range(3)]
    table = tmp_path / "by_uid.csv"
    rows = [f"{uid},{name}" for uid, name in zip(uids, CLASSES, strict=True)]
    table.write_bytes(("\ufeffSOPInstanceUID,Label\r\n" + "\r\n".join(rows)).encode())
    data = load(tmp_path, labels_csv=table)
    assert data.identifiers == tuple(uids)
    assert data.labels.tolist() == [0, 1, 2]
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    (tmp_path / "labels.csv").write_text("label,path,age\ncovid_19,flat/1,40\nnormal,./flat/0,3\n")
    data = load(tmp_path)
    assert data.identifiers == ("flat/0", "flat/1")
    assert data.labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("flat/0,normal\n", "first line"),
        ("", "first line"),
        ("path,SOPInstanceUID,label\na,b,normal\n", "first line"),
        ("path,label\n", "no usable rows"),
        ("path,label\nflat/0,fracture\n", r"unknown labels: 'fracture' \(line 2\)"),
        ("path,label\nflat/0,normal\nflat/0,covid-19\n", "contradict.*line 3"),
        ("path,label\nflat/0,normal\nflat/9,normal\n", "1 rows name.*flat/9"),
        ("path,label\n../flat/0,normal\n", "outside"),
        ("path,label\n/etc/passwd,normal\n", "outside"),
        ("path,label\nflat/0\n", "without key or label.*line 2"),
        ('path,label\n"flat/0,normal\n', "not CSV"),
    ],
)
def test_a_bad_labels_csv_says_what_is_wrong(tmp_path: Path, text: str, match: str) -> None:
    dicom(tmp_path / "flat" / "0")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        load(tmp_path)


def test_classes_that_folders_cannot_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be told apart"):
        load(tmp_path, classes=("a-b", "a_b"))


def test_unlabelled_takes_any_folder_and_a_single_file(tmp_path: Path) -> None:
    picture(tmp_path / "whatever" / "a.png", 7)
    dicom(tmp_path / "b.dcm", 9)
    data = load_unlabelled(tmp_path, image_size=8, channels=3)
    assert data.identifiers == ("b.dcm", "whatever/a.png")
    assert data.images[:, 0, 0].tolist() == [[9] * 3, [7] * 3]
    one = load_unlabelled(tmp_path / "b.dcm", image_size=8, channels=1)
    assert one.identifiers == ("b.dcm",)
