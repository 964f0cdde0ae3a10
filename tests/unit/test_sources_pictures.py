"""Picture files and DICOM files, one at a time: upright, in the right colours, or a clear error."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from client_agent.errors import DataError
from client_agent.preparation.prepare import prepare
from client_agent.sources.dicom import patient_group
from client_agent.sources.dicom_objects import NotAnImageError
from client_agent.sources.reading import read_file
from client_agent.sources.write_dicom import write_dicom


def phantom(channels: int = 1, size: int = 32) -> np.ndarray:
    """Four different quarters: no flip or turn leaves it alike."""
    image = np.zeros((size, size, channels), dtype=np.uint8)
    half = size // 2
    image[:half, :half], image[:half, half:], image[half:, :half] = 250, 160, 80
    if channels == 3:
        image[..., 2] //= 2
    return image


def prepared(path: Path, channels: int) -> np.ndarray:
    (raw,) = read_file(path)
    return prepare(raw.pixels, image_size=32, channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "dcm"])
def test_lossless_files_come_back_bit_for_bit(tmp_path: Path, channels: int, suffix: str) -> None:
    image, path = phantom(channels), tmp_path / f"a.{suffix}"
    if suffix == "dcm":
        write_dicom(image, path, patient_id="P1", seed=1)
    else:
        Image.fromarray(image[..., 0] if channels == 1 else image).save(path)
    assert np.array_equal(prepared(path, channels), image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turned_jpeg_stands_upright(tmp_path: Path, orientation: int) -> None:
    """A camera that stored the picture turned and said so (Exif 2.3, tag 0x0112)."""
    undo = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    stored = Image.fromarray(phantom()[..., 0])
    for step in undo[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=98)
    difference = prepared(tmp_path / "a.jpg", 1).astype(int) - phantom()
    assert np.abs(difference).max() < 20


def test_cmyk_jpeg(tmp_path: Path) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    Image.fromarray(red).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    pixel = prepared(tmp_path / "a.jpg", 3)[16, 16].astype(int)
    assert np.abs(pixel - [255, 0, 0]).max() < 12


def test_palette_png_with_and_without_transparency(tmp_path: Path) -> None:
    image = phantom(3)
    palette = Image.fromarray(image).quantize(16)
    palette.save(tmp_path / "a.png")
    assert np.abs(prepared(tmp_path / "a.png", 3).astype(int) - image).max() < 4
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    assert (prepared(tmp_path / "b.png", 3)[:16, :16] == 0).all()


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_their_range(tmp_path: Path, suffix: str) -> None:
    deep = phantom()[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(prepared(tmp_path / f"a.{suffix}", 1), phantom())


def test_twelve_bits_in_sixteen_are_not_black(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 4095, np.uint16)).save(tmp_path / "a.png")
    assert (prepared(tmp_path / "a.png", 1) == 255).all()


def test_dicom_is_told_by_content(tmp_path: Path) -> None:
    write_dicom(phantom(), tmp_path / "a.png", patient_id="P1", seed=1)
    assert np.array_equal(prepared(tmp_path / "a.png", 1), phantom())


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff", "a.bmp", "a.dcm"])
@pytest.mark.parametrize("keep", [0, 3, 140, 0.5])
def test_damage_is_a_data_error_that_names_no_patient(
    tmp_path: Path, name: str, keep: float
) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    if name == "a.dcm":
        write_dicom(noise, path, patient_id="SECRET^NAME", seed=1)
    else:
        Image.fromarray(noise[..., 0]).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(DataError) as caught:
        read_file(path)
    assert "SECRET" not in caught.value.message


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (20000, 20000)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(DataError, match="too many pixels"):
        read_file(tmp_path / "a.png")


def test_a_report_is_no_image(tmp_path: Path) -> None:
    write_dicom(phantom(), tmp_path / "a.dcm", patient_id="P", seed=1)
    dataset = dcmread(tmp_path / "a.dcm")
    for name in ("PixelData", "Rows", "Columns"):
        del dataset[name]
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(NotAnImageError, match="structured report"):
        read_file(tmp_path / "a.dcm")


def test_written_dicom_is_the_same_each_time_and_valid(tmp_path: Path) -> None:
    first = write_dicom(phantom(3), tmp_path / "c" / "a.dcm", patient_id="P", seed=7)
    data = (tmp_path / "c" / "a.dcm").read_bytes()
    assert write_dicom(phantom(3), tmp_path / "c" / "a.dcm", patient_id="P", seed=7) == first
    assert (tmp_path / "c" / "a.dcm").read_bytes() == data
    other = write_dicom(phantom(3), tmp_path / "c" / "a.dcm", patient_id="P", seed=8)
    assert other != first
    dataset = dcmread(tmp_path / "c" / "a.dcm")
    assert dataset.SOPInstanceUID == other == dataset.file_meta.MediaStorageSOPInstanceUID
    assert dataset.SOPInstanceUID.is_valid
    assert dataset.PatientName == ""


def test_patients_are_told_apart_without_being_named() -> None:
    def group(patient: str, issuer: str = "") -> str:
        dataset = Dataset()
        dataset.PatientID, dataset.IssuerOfPatientID = patient, issuer
        return patient_group(dataset)

    assert group("") == ""
    assert group("4711") == group(" 4711 ") != group("4712")
    assert group("4711", "A") != group("4711", "B")
    assert "4711" not in group("4711")
