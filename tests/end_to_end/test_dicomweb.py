"""Images from a real Orthanc server, sent to it by dcmtk, fetched over TLS with a password."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from client_agent.errors import DataError, NetworkError
from client_agent.preparation.dicom_rules import Rendering
from client_agent.progress import SilentProgress
from client_agent.registry.training_images import (
    ImageName,
    TrainingImages,
    store_training_images,
    training_images,
)
from client_agent.sources.load import load_images, load_unlabelled
from client_agent.sources.location import Location, parse_location
from client_agent.sources.naming import find_images
from client_agent.sources.options import SourceOptions
from client_agent.steps.reading import read_labelled, recipe_of
from client_agent.steps.scan import ScanOptions, scan
from client_agent.steps.train_options import TrainOptions
from client_agent.steps.withdraw import _options as withdraw_options
from ff_protocol.preparation import parse_frame
from tests.dicom_files import SHARED
from tests.orthanc import PASSWORD, USER, Orthanc, run_orthanc

FILES = (
    "CT_small.dcm", "693_J2KR.dcm", "MR_small_jpeg_ls_lossless.dcm", "emri_small_RLE.dcm",
    "OBXXXX1A_rle.dcm", "US1_J2KR.dcm", "examples_ybr_color.dcm", "JPEG-LL.dcm",
)  # fmt: skip


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: real files are shared beside the repository")
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        for name in FILES:
            meta = pydicom.filereader.read_file_meta_info(SHARED / name)
            server.send(SHARED / name, syntax=str(meta.TransferSyntaxUID))
        yield server


@pytest.fixture
def address(orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Location:
    """The server, with this process allowed in."""
    monkeypatch.setenv("FF_DICOMWEB_USER", USER)
    monkeypatch.setenv("FF_DICOMWEB_PASSWORD", PASSWORD)
    monkeypatch.setenv("FF_DICOMWEB_CA", str(orthanc.certificate))
    return parse_location(orthanc.address)


def uid(name: str) -> str:
    return str(pydicom.dcmread(SHARED / name, stop_before_pixels=True).SOPInstanceUID)


def test_every_image_is_what_its_file_is(address: Location, tmp_path: Path) -> None:
    data = load_unlabelled(address, image_size=32, channels=3)
    assert data.skipped == ()
    assert set(data.identifiers) == {uid(name) for name in FILES}
    (tmp_path / "files").mkdir()
    for name in FILES:
        (tmp_path / "files" / uid(name)).symlink_to(SHARED / name)
        one = load_unlabelled(SHARED / name, image_size=32, channels=3)
        at = data.identifiers.index(uid(name))
        assert np.array_equal(one.images[0], data.images[at]), name
        assert one.groups[0] == data.groups[at]


def test_the_query_is_the_servers_to_answer(orthanc: Orthanc, address: Location) -> None:
    some = parse_location(f"{orthanc.address}?Modality=CT")
    data = load_unlabelled(some, image_size=8, channels=1)
    assert set(data.identifiers) == {uid("CT_small.dcm"), uid("693_J2KR.dcm")}
    none = parse_location(f"{orthanc.address}?Modality=XA")
    with pytest.raises(DataError, match="no images found"):
        load_unlabelled(none, image_size=8, channels=1)


def test_labels_by_table_and_by_attribute(address: Location, tmp_path: Path) -> None:
    table, options = tmp_path / "t.csv", {"classes": ("ct", "us"), "image_size": 8, "channels": 1}
    table.write_text(f"SOPInstanceUID,label\n{uid('CT_small.dcm')},ct\n{uid('US1_J2KR.dcm')},us\n")
    data = load_images(address, labels_csv=table, **options)
    assert dict(zip(data.identifiers, data.labels.tolist(), strict=True)) == {
        uid("CT_small.dcm"): 0, uid("US1_J2KR.dcm"): 1,
    }  # fmt: skip
    mapping = tmp_path / "m.yaml"
    mapping.write_text("leave-out: [MR, NM]")
    frames = Rendering(frame=parse_frame("all"))
    data = load_images(
        address, label_tag="Modality", label_map=mapping, rendering=frames, **options
    )
    assert data.labels.tolist().count(0) == 2
    assert data.labels.tolist().count(1) == 32  # 30 of them frames of one file
    assert f"{uid('examples_ybr_color.dcm')}#30" in data.identifiers
    with pytest.raises(DataError, match="no folders"):
        load_images(address, **options)


def test_without_password_or_authority_there_is_one_clear_fault(
    orthanc: Orthanc, address: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FF_DICOMWEB_PASSWORD", "wrong")
    with pytest.raises(NetworkError, match="refuses access") as caught:
        load_unlabelled(address, image_size=8, channels=1)
    assert not caught.value.transient
    monkeypatch.delenv("FF_DICOMWEB_CA")
    with pytest.raises(NetworkError, match="no trusted connection") as caught:
        load_unlabelled(address, image_size=8, channels=1)
    assert "FF_DICOMWEB_CA" in str(caught.value.hint)


def test_scan_training_and_withdrawal_take_a_server_and_write_no_secret(
    orthanc: Orthanc, address: Location, authority, tmp_path: Path
) -> None:
    site = authority.join(tmp_path / "home", "hospital-1")
    (tmp_path / "m.yaml").write_text("classes: {zero: {names: [US]}}\nleave-out: [CT, MR, NM]")
    source = SourceOptions(label_map=tmp_path / "m.yaml", label_tag="Modality", frame="all")
    scanned = scan(ScanOptions(address, source=source), spec=site.spec, index=site.home.scan_index)
    rows = {row.class_name: row for row in scanned.overview.rows}
    assert (rows["zero"].files, rows["zero"].images) == (3, 32)
    options, notes = TrainOptions(address, source=source, steps=2, threads=1), Notes()
    data = read_labelled(site, options.data, recipe_of(site), source=source, progress=notes)
    assert "frame rule all is this site's alone" in notes.lines
    names = tuple(ImageName(name, name) for name in data.identifiers)
    record = TrainingImages("0" * 64, "zero", options.to_json(), names)
    store_training_images(site.home, record)
    (record,) = training_images(site.home)
    assert withdraw_options(site, record, None) == replace(options, classes=("zero",), retrain=True)
    one = uid("examples_ybr_color.dcm")
    found = find_images([one], record.images, None)
    assert (len(found[one]), len(record.images)) == (30, 32)
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


class Notes(SilentProgress):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)
