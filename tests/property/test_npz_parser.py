"""Whatever bytes an .npz holds: arrays, or one DataError. Nothing else escapes."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from client_agent.errors import DataError
from client_agent.sources.npz import read_npz_split


def _archive() -> bytes:
    buffer = io.BytesIO()
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    np.savez_compressed(buffer, train_images=images, train_labels=np.array([0, 1, 1]))
    return buffer.getvalue()


ARCHIVE = _archive()
EXPECTED = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)


def attempt(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(data)
        try:
            images, labels, _ = read_npz_split(path, "train")
        except DataError:
            return None
        return images, labels


def test_the_archive_itself_is_sound() -> None:
    result = attempt(ARCHIVE)
    assert result is not None
    assert np.array_equal(result[0], EXPECTED)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), max_size=4))
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(ARCHIVE)
    for position, value in changes:
        data[position] = value
    result = attempt(bytes(data))
    if result is not None:  # the CRC guards the content, so it is all or nothing
        assert np.array_equal(result[0], EXPECTED)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_npy_content(content: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train_images.npy", b"\x93NUMPY\x01\x00" + content)
        archive.writestr("train_labels.npy", content)
    assert attempt(buffer.getvalue()) is None


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["|u1", "<f8", "|O", "<U4", "|V8", "<M8[s]", "3u1", "x"]),
    st.lists(st.integers(-2, 2**40), max_size=5),
    st.binary(max_size=64),
)
def test_any_header(descr: str, shape: list[int], payload: bytes) -> None:
    text = repr({"descr": descr, "fortran_order": False, "shape": tuple(shape)}) + "\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train_images.npy", header + payload)
    assert attempt(buffer.getvalue()) is None
