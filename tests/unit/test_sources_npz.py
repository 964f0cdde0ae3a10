"""MedMNIST-style .npz files: what is read, and what a hostile or broken one gets."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client_agent.errors import DataError
from client_agent.sources.labelled import LabelledImages
from client_agent.sources.load import load_images, load_unlabelled
from client_agent.sources.npz import read_npz_split

CLASSES = ("Basophil", "ig", "lymphocyte")
BLOOD = Path(__file__).resolve().parents[3] / "shared" / "data" / "bloodcells28.npz"


def load(path: Path, **options: Any) -> LabelledImages:
    return load_images(path, **{"classes": CLASSES, "image_size": 8, "channels": 1, **options})


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    images = np.arange(5 * 64, dtype=np.uint16).reshape(5, 8, 8) % 251
    return {
        "train_images": images.astype(np.uint8),
        "train_labels": np.array([[0], [1], [2], [1], [0]], np.uint8),
        "test_images": images[:2].astype(np.uint8),
        "test_labels": np.array([2, 1]),
    }


def test_splits_and_label_shapes(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    train, test = load(tmp_path / "a.npz"), load(tmp_path / "a.npz", split="test")
    assert np.array_equal(train.images[..., 0], arrays["train_images"])
    assert train.labels.tolist() == [0, 1, 2, 1, 0]
    assert test.labels.tolist() == [2, 1]
    assert test.identifiers == ("test/0", "test/1")
    with pytest.raises(DataError, match="val_images"):
        load(tmp_path / "a.npz", split="val")


def test_names_map_onto_the_federation(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    names = np.array(["lymphocyte", "BASOPHIL", "IG"])
    np.savez(tmp_path / "a.npz", **arrays, class_names=names)
    assert load(tmp_path / "a.npz").labels.tolist() == [2, 0, 1, 0, 2]
    some = load(tmp_path / "a.npz", only_classes=["basophil"])
    assert some.identifiers == ("train/1", "train/3")
    np.savez(tmp_path / "b.npz", **arrays, class_names=np.array(["ig", "igg", "basophil"]))
    with pytest.raises(DataError, match="'igg'") as caught:
        load(tmp_path / "b.npz")
    assert "did you mean 'ig'?" in str(caught.value.hint)
    assert load(tmp_path / "b.npz", only_classes=["ig"]).labels.tolist() == [1, 1]


def test_only_classes_by_index_without_names(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert load(tmp_path / "a.npz", only_classes=["2", "ig"]).labels.tolist() == [1, 2, 1]
    with pytest.raises(DataError, match="Basophil"):
        load(tmp_path / "a.npz", only_classes=["0"], split="test")
    with pytest.raises(DataError, match="'3'"):
        load(tmp_path / "a.npz", only_classes=["3"])


def test_a_label_beyond_the_classes(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays, "train_labels": np.array([0, 1, 2, 3, 0])})
    with pytest.raises(DataError, match="'3'"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"train_labels": np.array([0, 1])},
        {"train_labels": np.array([0, 1, 2, -1, 0])},
        {"train_labels": np.zeros((5, 14), np.uint8)},
        {"train_labels": np.zeros(5)},
        {"train_images": np.zeros((5, 8), np.uint8)},
        {"train_images": np.zeros((5, 8, 8, 2), np.uint8)},
        {"train_images": np.zeros((0, 8, 8), np.uint8)},
        {"train_images": np.array([["a"]])},
        {"class_names": np.array([1, 2, 3])},
        {"class_names": np.array(["ig"])},
        {"class_names": np.array([b"\xff", b"ig", b"x"])},
    ],
)
def test_wrong_shapes_and_types(
    tmp_path: Path, arrays: dict[str, np.ndarray], change: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays, **change})
    with pytest.raises(DataError):
        load(tmp_path / "a.npz")


def test_pickles_are_refused_and_not_run(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    objects = np.array([Trap()] * 5, dtype=object)
    np.savez(tmp_path / "a.npz", **{**arrays, "train_labels": objects})
    with pytest.raises(DataError, match="pickled"):
        load(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def member(shape: tuple[int, ...], payload: bytes) -> bytes:
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + payload


@pytest.mark.parametrize(
    "content",
    [
        member((10**9, 1000, 1000), b"few"),  # the header lies
        member((-1, 8, 8), b"few"),
        member((1, 8, 8), bytes(65)),
        b"",
        b"\x93NUMPY\x09\x00",
    ],
)
def test_lying_headers_cost_nothing(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("train_images.npy", content)
    with pytest.raises(DataError):
        read_npz_split(tmp_path / "a.npz", "train")


def test_a_zip_bomb_is_refused_by_its_declared_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: dict[str, np.ndarray]
) -> None:
    arrays["train_images"] = np.zeros((5, 400, 400), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    monkeypatch.setattr("client_agent.sources.npz.MAX_ARRAY_BYTES", 100_000)
    with pytest.raises(DataError, match="too many"):
        load(tmp_path / "a.npz")


def test_truncation_anywhere(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    data = (tmp_path / "a.npz").read_bytes()
    for keep in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "b.npz").write_bytes(data[:keep])
        with pytest.raises(DataError):
            load(tmp_path / "b.npz")


def test_deep_and_fortran_arrays(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    deep = np.asfortranarray(arrays["train_images"].astype(np.uint16) * 257)
    np.savez(tmp_path / "a.npz", **{**arrays, "train_images": deep})
    assert np.array_equal(load(tmp_path / "a.npz").images[..., 0], arrays["train_images"])


def test_unlabelled(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", test_images=arrays["test_images"])
    data = load_unlabelled(tmp_path / "a.npz", image_size=8, channels=1)
    assert np.array_equal(data.images[..., 0], arrays["test_images"])


@pytest.mark.skipif(not BLOOD.exists(), reason="no bloodcells28.npz beside the repository")
def test_a_real_file() -> None:
    images, labels, names = read_npz_split(BLOOD, "val")
    assert images.shape == (1712, 28, 28, 3)
    assert names is not None
    assert len(names) == 8
    assert set(labels.tolist()) == set(range(8))
    with np.load(BLOOD) as reference:
        assert np.array_equal(images, reference["val_images"])
