"""`prepare`: identity, orientation, aspect, antialiasing, depth and colour."""

import json

import numpy as np
import pytest

from client_agent.errors import DataError
from client_agent.preparation.prepare import check_description, prepare, recipe


def phantom(height: int, width: int) -> np.ndarray:
    """Bright top left quarter, dim top right: no flip or turn leaves it alike."""
    image = np.zeros((height, width), dtype=np.uint8)
    image[: height // 2, : width // 2] = 250
    image[: height // 2, width // 2 :] = 100
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_the_right_shape_is_left_bit_for_bit(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28, channels), dtype=np.uint8)
    assert np.array_equal(prepare(image, image_size=28, channels=channels), image)


@pytest.mark.parametrize("size", [8, 28, 64, 256])
def test_orientation_survives_any_scale(size: int) -> None:
    out = prepare(phantom(100, 100), image_size=size, channels=1)[..., 0].astype(int)
    quarter = size // 4
    assert out.shape == (size, size)
    assert abs(out[quarter, quarter] - 250) <= 8
    assert abs(out[quarter, size - 1 - quarter] - 100) <= 8
    assert out[size - 1 - quarter, quarter] == out[size - 1 - quarter, size - 1 - quarter] == 0


def test_the_aspect_is_kept_and_the_padding_centred() -> None:
    out = prepare(np.full((50, 100), 200, np.uint8), image_size=32, channels=1)[..., 0]
    assert (out[:8] == 0).all()
    assert (out[24:] == 0).all()
    assert (out[8:24] == 200).all()
    tall = prepare(np.full((100, 50), 200, np.uint8), image_size=32, channels=1)[..., 0]
    assert np.array_equal(tall, out.T)


def test_a_sliver_keeps_at_least_one_pixel() -> None:
    assert prepare(np.full((1, 1000), 9, np.uint8), image_size=16, channels=1).max() == 9


def test_shrinking_averages_instead_of_picking() -> None:
    """A one-pixel checkerboard becomes grey; nearest neighbour would give black or white."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    out = prepare(board, image_size=32, channels=1)
    assert out.min() > 110
    assert out.max() < 145


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([[0, 65535]], np.uint16), [0, 255]),
        (np.array([[0, 4095]], np.uint16), [0, 255]),
        (np.array([[0, 4096]], np.uint16), [0, 16]),
        (np.array([[-1000, 1000]], np.int16), [0, 255]),
        (np.array([[0.0, 0.5]], np.float32), [0, 128]),
        (np.array([[-3.0, 5.0]], np.float64), [0, 255]),
        (np.array([[False, True]]), [0, 255]),
        (np.array([[7, 7]], np.int16), [0, 0]),
        (np.array([[3, 200]], np.uint8), [3, 200]),
        (np.array([[0, 65535]], ">u2"), [0, 255]),
    ],
)
def test_every_depth_follows_its_rule(pixels: np.ndarray, expected: list[int]) -> None:
    square = np.repeat(np.repeat(pixels, 4, axis=1), 8, axis=0)
    out = prepare(square, image_size=8, channels=1)[..., 0]
    assert [out[0, 0], out[0, 7]] == expected


def test_grey_and_colour_convert_as_stated() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert (prepare(red, image_size=8, channels=1) == 76).all()
    grey = np.full((8, 8), 77, np.uint8)
    assert (prepare(grey, image_size=8, channels=3) == 77).all()


def test_alpha_lies_over_black() -> None:
    image = np.full((8, 8, 4), 200, np.uint8)
    image[:4, :, 3] = 0
    image[4:, :, 3] = 255
    out = prepare(image, image_size=8, channels=3)
    assert (out[:4] == 0).all()
    assert (out[4:] == 200).all()


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 5), np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((2,), np.uint8),
        np.array([[np.nan, 1.0]]),
        np.array([["a"]]),
        np.array([[1j]]),
    ],
)
def test_what_is_no_image_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError):
        prepare(bad, image_size=8, channels=1)


def test_the_description_survives_json_and_guards_predict() -> None:
    description = json.loads(json.dumps(recipe(28, 3)))
    assert check_description(description) == (28, 3)
    for key in ("version", "resampling", "dicom"):
        with pytest.raises(DataError):
            check_description({**description, key: "other"})
    with pytest.raises(DataError):
        check_description({})
