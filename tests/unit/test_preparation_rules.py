"""What the federation's spec fixes: windows, frames, square pixels, and text burned into them."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client_agent.errors import DataError, UsageError
from client_agent.preparation.dicom_pixels import render
from client_agent.preparation.dicom_rules import Rendering, choose_frames
from client_agent.preparation.pixel_aspect import pixel_aspect
from client_agent.preparation.prepare import prepare, read_recipe, recipe
from client_agent.preparation.voi import apply_window
from client_agent.sources import dicom
from client_agent.sources.dicom import read_dicom
from client_agent.sources.dicom_objects import NotAllowedError
from client_agent.sources.load import load_images, load_unlabelled
from client_agent.sources.options import SourceOptions, agree
from ff_protocol import canonical
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.preparation import (
    MIDDLE_FRAME,
    NAMED_WINDOWS,
    FrameRule,
    Window,
    parse_frame,
    parse_window,
)
from ff_protocol.spec import parse_spec
from tests.dicom_files import PIXELS, make_dataset, write

RAMP = np.arange(-1000, 600, 25, dtype=np.int16).reshape(8, 8)
SPEC = {"classes": ["a", "b"], "image": {"size": 8, "channels": 1}}


def ct(**attributes: Any) -> Dataset:
    hounsfield = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0}
    return make_dataset(RAMP, **{**hounsfield, **attributes})


def test_named_windows_are_what_a_signed_spec_may_mean_by_them() -> None:
    assert NAMED_WINDOWS == {
        "abdomen": (50, 400), "bone": (400, 1800), "brain": (40, 80), "liver": (30, 150),
        "lung": (-600, 1500), "mediastinum": (50, 350), "soft-tissue": (40, 400),
        "stroke": (40, 40), "subdural": (75, 215),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["lung", "soft-tissue", "40,400", "-600.5,1500", "1234567,1.5"])
def test_a_window_reads_as_it_is_written(text: str) -> None:
    assert str(parse_window(text)) == text
    assert parse_window(str(parse_window(text))) == parse_window(text)
    assert parse_window(" Soft Tissue ") == parse_window("soft_tissue")


@pytest.mark.parametrize("text", ["lungs", "40", "40,0.5", "40,-4", "nan,1", "1,2,3", "", "1e3,5"])
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(MalformedError, match="window"):
        parse_window(text)


def test_frame_rules() -> None:
    assert [list(choose_frames(parse_frame(text), 4)) for text in ("middle", "FIRST", "all", "3")] \
        == [[2], [0], [0, 1, 2, 3], [2]]  # fmt: skip
    with pytest.raises(DataError, match="has 4 frames, frame 5"):
        choose_frames(parse_frame("5"), 4)
    for text in ("0", "-1", "last", "1.5", "٣", "9" * 9):
        with pytest.raises(MalformedError):
            parse_frame(text)


def test_the_spec_holds_them_and_refuses_what_is_unknown() -> None:
    spec = parse_spec({**SPEC, "preparation": {"window": "Lung", "frame": 3}}).preparation
    assert (spec.window_rule, spec.frame_rule) == (parse_window("lung"), FrameRule("number", 3))
    plain = parse_spec(SPEC).preparation
    assert (plain.window_rule, plain.frame_rule) == (None, MIDDLE_FRAME)
    for wrong in ({"window": "lungs"}, {"frame": "last"}, {"frame": True}, {"windows": "lung"}):
        with pytest.raises(SpecError, match="preparation"):
            parse_spec({**SPEC, "preparation": wrong})


def test_a_site_may_repeat_the_federations_rules_and_not_change_them() -> None:
    lung = parse_window("lung")
    same, warnings = agree(SourceOptions(window="Lung", frame="middle"), lung, MIDDLE_FRAME)
    assert (same, warnings) == (Rendering(lung), ())
    with pytest.raises(UsageError, match="bone contradicts the federation's window lung"):
        agree(SourceOptions(window="bone"), lung, MIDDLE_FRAME)
    with pytest.raises(UsageError, match="all contradicts"):
        agree(SourceOptions(frame="all"), None, parse_frame("first"))
    own, warnings = agree(SourceOptions(window="bone"), None, MIDDLE_FRAME)
    assert own.window == parse_window("bone")
    assert "this site's alone" in warnings[0]


def test_options_survive_being_remembered(tmp_path: Path) -> None:
    options = SourceOptions(tmp_path / "m.yaml", "BodyPartExamined", "lung", "all", True)
    assert SourceOptions.from_json(canonical.loads(canonical.dumps(options.to_json()),
                                                   max_bytes=999, what="x")) == options  # fmt: skip
    assert SourceOptions.from_json(None) == SourceOptions()


def test_a_window_of_the_federation_beats_the_files() -> None:
    dataset = ct(WindowCenter=0, WindowWidth=10)
    lung = render(dataset, window=parse_window("lung"))
    assert np.array_equal(lung.pixels, np.rint(apply_window(RAMP, -600, 1500) * 255))
    assert lung.voi == "window lung"
    inverted = render(ct(PhotometricInterpretation="MONOCHROME1"), window=Window(-600, 1500))
    assert np.abs(lung.pixels.astype(int) + inverted.pixels - 255).max() <= 1


def test_named_windows_leave_alone_what_is_not_in_hounsfield_units() -> None:
    lung = parse_window("lung")
    for other in (make_dataset(RAMP, Modality="MR"), make_dataset(RAMP, Modality="CT")):
        assert np.array_equal(render(other, window=lung).pixels, render(other).pixels)
    numbers = render(make_dataset(RAMP, Modality="MR"), window=Window(0, 100))
    assert numbers.voi == "window 0,100"


def test_all_frames_become_images_named_by_their_number(tmp_path: Path) -> None:
    stack = np.stack([np.full((8, 8), value, np.uint8) for value in (10, 20, 30)])
    write(make_dataset(stack), tmp_path / "a" / "x")
    write(make_dataset(stack[0]), tmp_path / "a" / "y")
    options = {"classes": ("a", "b"), "image_size": 8, "channels": 1}
    every = load_images(tmp_path, rendering=Rendering(frame=parse_frame("all")), **options)
    assert every.identifiers == ("a/x#1", "a/x#2", "a/x#3", "a/y")
    assert every.images[:, 0, 0, 0].tolist() == [10, 20, 30, 10]
    first = load_images(tmp_path, rendering=Rendering(frame=parse_frame("first")), **options)
    assert first.images[:, 0, 0, 0].tolist() == [10, 10]
    with pytest.raises(DataError, match="1 of 2 images") as caught:
        load_images(tmp_path, rendering=Rendering(frame=parse_frame("2")), **options)
    assert "frame 2 is asked for" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("attributes", "ratio"),
    [
        ({"PixelSpacing": [0.8, 0.4]}, 2.0),
        ({"ImagerPixelSpacing": [0.2, 0.4]}, 0.5),
        ({"NominalScannedPixelSpacing": [3, 1]}, 3.0),
        ({"PixelAspectRatio": ["4", "3"]}, 4 / 3),
        ({"PixelSpacing": [0.5, 0.5], "PixelAspectRatio": ["4", "3"]}, 1.0),
        ({"PixelSpacing": [0.5, 0.5004]}, 1.0),
        ({"PixelSpacing": [0, 0.4]}, 1.0),
        ({}, 1.0),
    ],
)
def test_pixels_that_are_not_square(attributes: dict[str, Any], ratio: float) -> None:
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    assert pixel_aspect((dataset,)) == pytest.approx(ratio)


def test_a_disc_in_oblong_pixels_is_prepared_round(tmp_path: Path) -> None:
    """40 rows 2 mm apart by 80 columns 1 mm apart are 80 mm square."""
    rows, columns = np.mgrid[:40, :80]
    disc = (((rows * 2 - 39) ** 2 + (columns - 39.5) ** 2) < 25**2).astype(np.uint8) * 255
    write(make_dataset(disc, PixelSpacing=[2, 1]), tmp_path / "a" / "x")
    image = load_images(tmp_path, classes=("a", "b"), image_size=40, channels=1).images[0, ..., 0]
    seen = image > 127
    assert abs(int(seen.any(axis=0).sum()) - int(seen.any(axis=1).sum())) <= 2
    assert 23 <= seen.any(axis=0).sum() <= 27
    with pytest.raises(DataError, match="not believed"):
        pixel_aspect((make_dataset(disc, PixelSpacing=[99, 1]),))


def test_square_pixels_of_the_right_size_are_still_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    assert np.array_equal(prepare(image, image_size=28, channels=1, aspect=1.0), image)
    assert not np.array_equal(prepare(image, image_size=28, channels=1, aspect=2.0), image)


def test_text_burned_into_the_pixels_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = write(make_dataset(PIXELS, BurnedInAnnotation="YES"), tmp_path / "a" / "x")
    with pytest.raises(NotAllowedError, match="0028,0301") as caught:
        read_dicom(path)
    assert "--allow-burned-in" in str(caught.value.hint)
    options = {"classes": ("a", "b"), "image_size": 8, "channels": 1}
    with pytest.raises(DataError, match="no readable images") as caught:
        load_images(tmp_path, **options)
    assert "--allow-burned-in" in str(caught.value.hint)
    assert len(load_images(tmp_path, rendering=Rendering(allow_burned_in=True), **options).images)
    for number in range(3):
        write(make_dataset(PIXELS, BurnedInAnnotation="NO"), tmp_path / "a" / f"{number}")
    mixed = load_images(tmp_path, **options)
    assert (len(mixed.images), [item.identifier for item in mixed.skipped]) == (3, ["a/x"])
    # What is only looked at stays here.
    assert len(load_unlabelled(path, image_size=8, channels=1).images) == 1


def test_overlays_are_neither_drawn_nor_read_from_unused_bits() -> None:
    stored = np.array([[0x8000 | 100, 200, 0xF000 | 300, 4095]], dtype=np.uint16)
    drawn = make_dataset(stored, BitsStored=12, HighBit=11)
    clean = make_dataset(stored & 0x0FFF, BitsStored=12, HighBit=11)
    drawn.add_new(0x60000100, "US", 16)
    drawn.add_new(0x60000102, "US", 15)
    drawn.add_new(0x60003000, "OW", b"\xff\xff")
    assert np.array_equal(render(drawn).pixels, render(clean).pixels)


def test_a_deflated_file_that_expands_beyond_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(PIXELS)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    path = write(dataset, tmp_path / "a.dcm")
    assert len(read_dicom(path)) == 1
    monkeypatch.setattr(dicom, "MAX_INFLATED_BYTES", 10_000)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = squeeze.compress(bytes(5_000_000)) + squeeze.flush()
    data = path.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    path.write_bytes(data[: 144 + length] + bomb)
    with pytest.raises(DataError, match="larger than any image"):
        read_dicom(path)


def test_the_recipe_names_window_and_frame_and_reads_back() -> None:
    for window in (None, parse_window("lung"), parse_window("-600,1500")):
        written = recipe(28, 1, window, parse_frame("all"))
        read = read_recipe(canonical.loads(canonical.dumps(written), max_bytes=9999, what="x"))
        assert (read.window, read.frame) == (window, parse_frame("all"))
    with pytest.raises(DataError, match="prepared by rules"):
        read_recipe({**written, "window": [1, 2, ""]})
