"""A DICOMDIR as a source: the files that it names, and none outside its disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from client_agent.errors import DataError
from client_agent.registry.training_images import ImageName
from client_agent.sources.labelled import LabelledImages
from client_agent.sources.load import load_images, load_unlabelled
from client_agent.sources.naming import find_images
from client_agent.steps.scan import ScanOptions, scan
from tests.dicom_files import make_dataset, write


def load(path: Path, **options: Any) -> LabelledImages:
    return load_images(path, **{"classes": ("ct", "mr"), "image_size": 8, "channels": 1, **options})


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file set as a CD holds it; a stranger beside it that the DICOMDIR does not name."""
    files = FileSet()
    for number, modality in enumerate(("CT", "MR")):
        dataset = make_dataset(
            np.full((8, 8), 50 * (number + 1), np.uint8), Modality=modality, StudyID="1",
            StudyDate="20200101", StudyTime="120000", AccessionNumber="", SeriesNumber=1,
            InstanceNumber=1, StudyInstanceUID=f"1.2.{number}", SeriesInstanceUID=f"1.3.{number}",
        )  # fmt: skip
        files.add(dataset)
    files.write(tmp_path / "cd")
    write(make_dataset(np.zeros((8, 8), np.uint8), Modality="CT"), tmp_path / "cd" / "STRANGER")
    return tmp_path / "cd"


def test_the_files_it_names_are_read(disk: Path) -> None:
    data = load(disk / "DICOMDIR", label_tag="Modality")
    assert data.images[:, 0, 0, 0].tolist() == [50, 100]
    assert data.labels.tolist() == [0, 1]
    assert len(load_unlabelled(disk / "DICOMDIR", image_size=8, channels=1).images) == 2
    assert len(load_unlabelled(disk, image_size=8, channels=1).images) == 3
    looked = scan(ScanOptions(disk / "DICOMDIR"), index=disk.parent / "i")
    assert looked.files == 2


def test_a_mounted_disk_may_show_other_case(disk: Path) -> None:
    expected = load(disk / "DICOMDIR", label_tag="Modality")
    for folder, folders, files in os.walk(disk, topdown=False):
        for name in (*folders, *files):
            if name != "DICOMDIR":
                (Path(folder) / name).rename(Path(folder) / name.lower())
    data = load(disk / "DICOMDIR", label_tag="Modality")
    assert np.array_equal(data.images, expected.images)
    assert [name.upper() for name in data.identifiers] == list(expected.identifiers)


def test_what_is_missing_or_lies_elsewhere_is_said(disk: Path, tmp_path: Path) -> None:
    directory = dcmread(disk / "DICOMDIR")
    records = [item for item in directory.DirectoryRecordSequence if "ReferencedFileID" in item]
    (disk.joinpath(*records[0].ReferencedFileID)).unlink()
    write(make_dataset(np.zeros((8, 8), np.uint8)), tmp_path / "SECRET")
    records[1].ReferencedFileID = ["..", "SECRET"]
    directory.save_as(disk / "DICOMDIR")
    looked = scan(ScanOptions(disk / "DICOMDIR"), index=tmp_path / "i")
    assert [item.reason for item in looked.overview.refused] == [
        "DICOMDIR names a path outside its disk", "named in DICOMDIR and not there",
    ]  # fmt: skip
    assert looked.files == 0
    with pytest.raises(DataError, match="no images"):
        load(disk / "DICOMDIR", label_tag="Modality")


@pytest.mark.parametrize("content", [b"", b"not DICOM", None])
def test_a_file_that_is_no_dicomdir(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        write(make_dataset(np.zeros((8, 8), np.uint8)), tmp_path / "DICOMDIR")
    else:
        (tmp_path / "DICOMDIR").write_bytes(content)
    with pytest.raises(DataError, match="DICOMDIR"):
        load(tmp_path / "DICOMDIR", label_tag="Modality")


def test_withdrawing_by_uid_or_file_finds_every_frame(disk: Path) -> None:
    data = load(disk / "DICOMDIR", label_tag="Modality")
    name = data.identifiers[0]
    images = [ImageName(f"{name}#{frame}", f"{frame}" * 64) for frame in (1, 2)]
    images.append(ImageName(data.identifiers[1], "9" * 64))
    uid = str(dcmread(disk / name).SOPInstanceUID)
    found = find_images([uid, name, f"{name}#2"], images, disk / "DICOMDIR")
    assert found[uid] == found[name] == tuple(images[:2])
    assert found[f"{name}#2"] == (images[1],)
