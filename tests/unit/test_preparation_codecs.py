"""Decoded pixels of every transfer syntax, bit for bit, and by a second decoder where there is one.

Golden values are those on which all decoders here agreed: pydicom's own, GDCM, OpenJPEG, CharLS,
Pillow, and dcmtk's for the JPEG family.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from client_agent.preparation.decoding import decode_frame
from client_agent.sources.load import load_images
from tests.dicom_files import FILES, SHARED, make_dataset, write

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GOLDEN = {
    "693_J2KR.dcm": "a08e37b72e651324",
    "693_UNCR.dcm": "a08e37b72e651324",
    "CT_small.dcm": "2e1f47a1a18de828",
    "GREYSCALE_IMAGE.dcm": "2837af9d6b2a6c21",
    "J2K_pixelrep_mismatch.dcm": "efca033390c2a1be",
    "JPEG-LL.dcm": "7fba0da79e30ac63",
    "JPEG2000.dcm": "2d44aa4a3f3ca0e7",
    "JPGExtended.dcm": "e6f071970a77cae6",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "6640e803091418bd",
    "MR2_J2KI.dcm": "60809c9dbfed1262",
    "MR_small.dcm": "fb3b38902e6233a1",
    "MR_small_RLE.dcm": "fb3b38902e6233a1",
    "MR_small_bigendian.dcm": "fb3b38902e6233a1",
    "MR_small_implicit.dcm": "fb3b38902e6233a1",
    "MR_small_jp2klossless.dcm": "fb3b38902e6233a1",
    "MR_small_jpeg_ls_lossless.dcm": "fb3b38902e6233a1",
    "OBXXXX1A_rle.dcm": "b966f448811ec130",
    "RG1_J2KI.dcm": "512cdefe03cb28de",
    "RG3_J2KI.dcm": "eff93681375fb7be",
    "RG3_J2KR.dcm": "73530d36ede7ccf1",
    "US1_J2KR.dcm": "93a69a27aab7a7b0",
    "bad_sequence.dcm": "6b3fc0c36f0d2ad4",
    "emri_small.dcm": "1a4a78b701781a39",
    "emri_small_RLE.dcm": "1a4a78b701781a39",
    "emri_small_jpeg_ls_lossless.dcm": "1a4a78b701781a39",
    "examples_overlay.dcm": "f6cbb6de174c2fb1",
    "examples_rgb_color.dcm": "d51216fe94c08459",
    "examples_ybr_color.dcm": "98aa4868be87d55c",
    "explicit_VR-UN.dcm": "cd5275bdbd46cc2d",
    "image_dfl.dcm": "793508e4806a2b9e",
}
"""SHA-256, 16 digits, of the middle frame: dtype and shape as text, then little-endian values."""

SECOND = {
    "MR_small_jp2klossless.dcm": ("gdcm", "pylibjpeg", "pillow"),
    "JPEG2000.dcm": ("gdcm", "pylibjpeg", "pillow"),
    "MR_small_jpeg_ls_lossless.dcm": ("gdcm", "pyjpegls"),
    "OBXXXX1A_rle.dcm": ("pydicom", "pylibjpeg"),
    "examples_ybr_color.dcm": ("gdcm", "pillow"),
}
needs_files = pytest.mark.skipif(not FILES, reason="no DICOM files beside the repository")


def decoded(path: Path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    frame = int(dataset.get("NumberOfFrames", 1) or 1) // 2
    pixels, _ = decode_frame(dataset, frame, str(dataset.PhotometricInterpretation))
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<")))


@needs_files
def test_every_file_has_its_golden_value() -> None:
    assert {path.name for path in FILES} == GOLDEN.keys()


@needs_files
@pytest.mark.parametrize("name", GOLDEN)
def test_pixels_are_golden(name: str) -> None:
    pixels = decoded(SHARED / name)
    text = f"{pixels.dtype.str}{pixels.shape}".encode()
    assert hashlib.sha256(text + pixels.tobytes()).hexdigest()[:16] == GOLDEN[name]


@needs_files
@pytest.mark.parametrize("name", SECOND)
def test_two_decoders_agree(name: str) -> None:
    dataset, expected = pydicom.dcmread(SHARED / name), decoded(SHARED / name)
    frame = int(dataset.get("NumberOfFrames", 1) or 1) // 2
    assert set(SECOND[name]) <= set(
        get_decoder(dataset.file_meta.TransferSyntaxUID).available_plugins
    )
    for plugin in SECOND[name]:
        other = pixel_array(dataset, index=frame, decoding_plugin=plugin)
        assert np.array_equal(other, expected), plugin


@needs_files
@pytest.mark.skipif(not shutil.which("dcmdjpeg"), reason="the Debian package dcmtk is missing")
@pytest.mark.parametrize(
    "name",
    ["JPGExtended.dcm", "JPEG-LL.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "bad_sequence.dcm"],
)
def test_dcmtk_agrees_on_jpeg(name: str, tmp_path: Path) -> None:
    """Lossless exactly; 12-bit lossy to one level: the transform is not specified to the bit."""
    subprocess.run(
        ["dcmdjpeg", str(SHARED / name), str(tmp_path / "a.dcm")], check=True, capture_output=True
    )
    difference = decoded(tmp_path / "a.dcm").astype(int) - decoded(SHARED / name)
    assert np.abs(difference).max() <= (1 if name == "JPGExtended.dcm" else 0)


def phantom() -> np.ndarray:
    """Four different quarters, 32 x 32: no flip, turn or transposition leaves it alike."""
    image = np.zeros((32, 32), dtype=np.uint8)
    image[:16, :16], image[:16, 16:], image[16:, :16] = 250, 160, 80
    return image


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless,
        JPEG2000Lossless,
    ],
)  # fmt: skip
def test_a_phantom_keeps_its_orientation_from_file_to_tensor(
    tmp_path: Path, syntax: str, frames: int
) -> None:
    """As `train` reads it: [n, H, W, C], row 0 at the top, column 0 at the left."""
    stored = np.stack([np.zeros_like(phantom()), phantom(), np.zeros_like(phantom())])
    dataset = make_dataset(stored if frames == 3 else phantom())
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset.compress(syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    write(dataset, tmp_path / "a" / "x")
    data = load_images(tmp_path, classes=("a", "b"), image_size=32, channels=3)
    assert np.array_equal(data.images[0], np.repeat(phantom()[..., None], 3, axis=2))


def test_a_phantom_taller_than_wide_is_not_transposed(tmp_path: Path) -> None:
    tall = phantom()[:, ::2]
    write(make_dataset(tall), tmp_path / "a" / "x")
    data = load_images(tmp_path, classes=("a", "b"), image_size=32, channels=1)
    assert np.array_equal(data.images[0, :, 8:24, 0], tall)
    assert data.images[0, :, :8].max() == data.images[0, :, 24:].max() == 0
