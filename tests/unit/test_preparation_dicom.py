"""The DICOM grey-scale pipeline against the standard's formulas and against real files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from client_agent.errors import DataError
from client_agent.preparation.dicom_pixels import render
from client_agent.preparation.voi import apply_window

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
FILES = sorted(REAL.glob("*.dcm"))
needs_files = pytest.mark.skipif(not FILES, reason="no DICOM files beside the repository")


def make(stored: np.ndarray, **attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


RAMP = np.arange(-2, 6, dtype=np.int16).reshape(2, 4) * 100


def test_linear_window_is_the_formula_of_the_standard() -> None:
    """C.11.2.1.2.1 with c = 2048, w = 4096: 0 -> 0, 4095 -> 1, halfway in between."""
    out = apply_window(np.array([-1, 0, 2047.5, 4095, 5000]), 2048, 4096)
    assert out == pytest.approx([0, 0, 0.5, 1, 1])


def test_the_three_functions_differ() -> None:
    x = np.array([30.0, 40.0, 50.0])
    assert apply_window(x, 40, 40, "LINEAR_EXACT") == pytest.approx([0.25, 0.5, 0.75])
    assert apply_window(x, 40, 40, "SIGMOID") == pytest.approx([0.268941, 0.5, 0.731059], abs=1e-6)
    assert apply_window(x, 40, 1) == pytest.approx([0, 1, 1])
    for width, function in ((0.5, "LINEAR"), (0, "SIGMOID"), (5, "CUBIC")):
        with pytest.raises(ValueError, match=r"w|CUBIC"):
            apply_window(x, 40, width, function)


def test_rescale_comes_before_the_window() -> None:
    dataset = make(
        RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=300, WindowWidth=1000,
        VOILUTFunction="LINEAR_EXACT",
    )  # fmt: skip
    expected = np.rint(np.clip((RAMP * 2.0 - 100 - 300) / 1000 + 0.5, 0, 1) * 255)
    assert np.array_equal(render(dataset).pixels, expected)


def test_monochrome1_is_inverted_after_the_window() -> None:
    """Inverting stored values first would move the window to the other end."""
    window = {"WindowCenter": 0, "WindowWidth": 201}
    plain = render(make(RAMP, **window)).pixels
    inverted = render(make(RAMP, PhotometricInterpretation="MONOCHROME1", **window)).pixels
    assert plain.flat[0] == 0
    assert plain.flat[7] == 255
    assert np.abs(plain.astype(int) + inverted - 255).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_left_out_of_the_range_and_shown_black(photometric: str) -> None:
    stored = np.array([[-2000, 0, 50, 100]], dtype=np.int16)
    dataset = make(stored, PhotometricInterpretation=photometric)
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    ramp = [0, 128, 255] if photometric == "MONOCHROME2" else [255, 128, 0]
    assert render(dataset).pixels[0].tolist() == [0, *ramp]
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)  # a writer's wrong VR
    assert render(dataset).pixels[0].tolist() == [0, *ramp]


def test_padding_range() -> None:
    dataset = make(np.array([[10, 15, 20, 100, 200]], dtype=np.uint16))
    dataset.add_new("PixelPaddingValue", "US", 10)
    dataset.add_new("PixelPaddingRangeLimit", "US", 20)
    assert render(dataset).pixels[0].tolist() == [0, 0, 0, 0, 255]


def test_without_window_ct_gets_the_preset_and_others_their_range() -> None:
    ct = make(RAMP, Modality="CT", RescaleSlope=1, RescaleIntercept=0)
    assert render(ct).voi == "window 40/400 (CT)"
    assert np.array_equal(
        render(ct).pixels, np.rint(apply_window(RAMP, 40, 400) * 255).astype(np.uint8)
    )
    mr = render(make(RAMP, Modality="MR"))
    assert (mr.pixels.min(), mr.pixels.max(), mr.voi) == (0, 255, "minimum..maximum")
    eight = np.array([[3, 99]], dtype=np.uint8)
    assert render(make(eight)).pixels.tolist() == [[3, 99]]


def test_the_first_of_several_windows_and_a_voi_lut_before_any() -> None:
    several = make(RAMP, WindowCenter=[100, 9], WindowWidth=[201, 9])
    one = make(RAMP, WindowCenter=100, WindowWidth=201)
    assert np.array_equal(render(several).pixels, render(one).pixels)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 8])
    table.add_new("LUTData", "US", [10, 20, 40, 80])
    stored = np.array([[0, 1, 2, 3, 9]], dtype=np.uint16)
    lut = make(stored, VOILUTSequence=[table], WindowCenter=1, WindowWidth=2)
    assert render(lut).pixels[0].tolist() == [10, 20, 40, 80, 80]


def test_the_middle_frame_and_its_own_macros() -> None:
    frames = np.stack([np.full((2, 2), value, np.uint16) for value in (0, 1000, 2000)])
    shared, per_frame = Dataset(), [Dataset() for _ in frames]
    for index, group in enumerate(per_frame):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = 1000 + 500 * (index != 1), 1001
        window.VOILUTFunction = "LINEAR_EXACT"
        group.FrameVOILUTSequence = [window]
    dataset = make(frames, SharedFunctionalGroupsSequence=[shared])
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    rendered = render(dataset)
    assert rendered.frame == 1
    assert (rendered.pixels == 128).all()


def test_twelve_bits_signed_are_sign_extended() -> None:
    dataset = make(np.array([[-2048, 0, 2047]], dtype=np.int16), BitsStored=12, HighBit=11)
    assert render(dataset).pixels[0].tolist() == [0, 128, 255]


def test_too_many_pixels_are_refused_before_decoding() -> None:
    dataset = make(np.zeros((2, 2), np.uint16))
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(DataError, match="too many"):
        render(dataset)


def test_unknown_photometric_interpretation_is_refused() -> None:
    with pytest.raises(DataError, match="HSV"):
        render(make(np.zeros((2, 2), np.uint8), PhotometricInterpretation="HSV"))


@needs_files
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_real_file_decodes_to_a_plausible_picture(path: Path) -> None:
    index = {row["file"]: row for row in csv.DictReader((REAL / "INDEX.csv").open())}
    pixels = render(pydicom.dcmread(path)).pixels
    sides = [int(side) for side in index[path.name]["decoded_shape"].split("x")]
    sides = sides[:-1] if sides[-1] == 3 else sides
    assert pixels.dtype == np.uint8
    assert list(pixels.shape[:2]) == sides[-2:]
    assert pixels.std() > 5
    assert len(np.unique(pixels)) > 20
    assert pixels.max() > 150


@needs_files
@pytest.mark.parametrize("name", ["RG1_J2KI.dcm", "RG3_J2KI.dcm", "RG3_J2KR.dcm"])
def test_real_monochrome1_comes_out_inverted(name: str) -> None:
    dataset = pydicom.dcmread(REAL / name)
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    shown = render(dataset).pixels.ravel().astype(float)
    assert np.corrcoef(shown, dataset.pixel_array.ravel())[0, 1] < -0.8


@needs_files
def test_one_image_in_many_syntaxes_looks_the_same() -> None:
    same = [render(pydicom.dcmread(path)).pixels for path in FILES if path.stem.startswith("MR_s")]
    assert len(same) >= 6
    assert all(np.array_equal(item, same[0]) for item in same)


@needs_files
def test_ultrasound_in_ybr_and_palette_is_in_colour_and_mostly_black() -> None:
    for name in ("examples_ybr_color.dcm", "US1_J2KR.dcm", "OBXXXX1A_rle.dcm"):
        pixels = render(pydicom.dcmread(REAL / name)).pixels
        assert pixels.shape[2] == 3
        assert np.median(pixels.max(axis=2)) < 64, name


@needs_files
def test_twelve_bit_jpeg_extended_agrees_with_another_decoder(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """INDEX.csv's range was measured elsewhere, with a decoder that is not ours."""
    from client_agent.preparation.decoding import decode_frame

    stored, _ = decode_frame(pydicom.dcmread(REAL / "JPGExtended.dcm"), 0, "MONOCHROME2")
    assert (stored.min(), stored.max()) == (0, 264)
    assert capfd.readouterr().err == ""  # GDCM's library would complain of every file
