"""The exported classifier: torch's numbers, the same bytes every time, nothing of this machine."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import torch  # noqa: E402

from client_agent.classifier.calibration import calibrate, held_out, mahalanobis  # noqa: E402
from client_agent.classifier.export import build_model, export_classifier  # noqa: E402
from client_agent.classifier.prediction import ClassifierFile  # noqa: E402
from client_agent.classifier.settings import ClassifierSettings  # noqa: E402
from client_agent.classifier.training import fit_classifier  # noqa: E402
from client_agent.errors import DataError, NotReadyError, TrainingError  # noqa: E402
from ff_protocol.errors import MalformedError  # noqa: E402

REPOSITORY = Path(__file__).parents[2]
PROVENANCE = {"dataset_root": "00" * 32, "modules": [{"class": "b", "digest": "11" * 32}]}
DESCRIPTION = {"preprocessing": {"resize": "area"}, "provenance": PROVENANCE}

FIT_AND_EXPORT = """
import sys
from pathlib import Path
import numpy as np
from client_agent.classifier.calibration import calibrate, held_out
from client_agent.classifier.export import export_classifier
from client_agent.classifier.settings import ClassifierSettings
from client_agent.classifier.training import fit_classifier
random = np.random.default_rng(0)
images = random.integers(0, 256, (150, 8, 8, 3), dtype=np.uint8)
settings = ClassifierSettings(epochs=2, threads=2)
labels = np.arange(150) % 3
held = held_out(labels)
training = images[~held], labels[~held]
fitted = fit_classifier(*training, classes=("a", "b", "c"), settings=settings)
calibration = calibrate(fitted, training, (images[held], labels[held]))
path = Path(sys.argv[1])
export_classifier(fitted, calibration, path, preprocessing={"p": 1}, provenance={"q": [2]})
"""


def images(count: int = 40, size: int = 12, channels: int = 3):
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    settings = ClassifierSettings(epochs=2, batch_size=16, threads=1, widths=(8, 8, 16, 16))
    labels = np.arange(40) % 3
    held = held_out(labels)
    training = images()[~held], labels[~held]
    fitted = fit_classifier(*training, classes=("a", "b", "ü"), settings=settings)
    calibration = calibrate(fitted, training, (images()[held], labels[held]))
    path = tmp_path_factory.mktemp("classifier") / "classifier.onnx"
    export_classifier(fitted, calibration, path, **DESCRIPTION)
    return fitted, calibration, path


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_onnxruntime_agrees_with_torch(exported, batch_size):
    fitted, calibration, path = exported
    found, nearness = ClassifierFile.open(path).run(images(), batch_size)
    assert found.dtype == nearness.dtype == np.float32
    with torch.inference_mode():
        features = fitted.network.features(torch.from_numpy(images()))
        scores = fitted.network.scores(features) / calibration.temperature
        parts = [torch.from_numpy(part) for part in (calibration.means, calibration.whitening)]
        distance = mahalanobis(features, *parts)
    np.testing.assert_allclose(found, torch.softmax(scores, 1), atol=5e-6)
    np.testing.assert_allclose(nearness, calibration.limit / distance, rtol=1e-3)


def test_the_file_says_what_it_is(exported):
    _, _, path = exported
    opened = ClassifierFile.open(path)
    assert opened.classes == ("a", "b", "ü")
    assert (opened.image_size, opened.channels) == (12, 3)
    assert opened.preprocessing == {"resize": "area"}
    assert opened.provenance == PROVENANCE
    assert opened.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    model = onnx.load(path)
    assert [item.version for item in model.opset_import] == [18]
    assert sorted(item.key for item in model.metadata_props) == [
        "calibration", "classes", "format_version", "image", "preprocessing", "provenance",
    ]  # fmt: skip


def test_nothing_of_this_machine_is_inside(exported):
    fitted, calibration, path = exported
    data = path.read_bytes()
    strangers = [str(REPOSITORY), str(Path.home()), sys.prefix, socket.gethostname(), ".py"]
    strangers += ["torch", "site-packages"]
    assert [text for text in strangers if len(text) > 3 and text.encode() in data] == []
    model = build_model(fitted, calibration, preprocessing={}, provenance={})
    assert not any(node.doc_string or node.name or node.metadata_props for node in model.graph.node)
    assert not model.graph.value_info


def test_exporting_again_gives_the_same_bytes(exported, tmp_path):
    fitted, calibration, path = exported
    again = tmp_path / "again.onnx"
    export_classifier(fitted, calibration, again, **DESCRIPTION)
    assert again.read_bytes() == path.read_bytes()


def test_two_processes_with_different_cores_write_the_same_file(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    pinned = ["taskset", "-c", str(cores[0])] if shutil.which("taskset") else []
    digests = []
    for name, prefix, hash_seed in (("all", [], "1"), ("one", pinned, "2")):
        path = tmp_path / f"{name}.onnx"
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        subprocess.run(
            [*prefix, sys.executable, "-c", FIT_AND_EXPORT, str(path)],
            check=True,
            capture_output=True,
            # Two threads on one core must not spin for each other.
            env={**environment, "PYTHONHASHSEED": hash_seed, "OMP_WAIT_POLICY": "PASSIVE"},
            cwd=tmp_path,
        )
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_predicting_needs_no_torch(exported):
    _, _, path = exported
    code = (
        "import sys, numpy, pathlib\n"
        "from client_agent.classifier.prediction import ClassifierFile\n"
        "opened = ClassifierFile.open(pathlib.Path(sys.argv[1]))\n"
        "opened.predict(numpy.zeros((2, 12, 12, 3), numpy.uint8))\n"
        "sys.exit(bool({'torch', 'monai', 'onnx'} & set(sys.modules)))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_a_weight_that_is_not_finite_is_not_written(exported, tmp_path):
    fitted, calibration, _ = exported
    weight = fitted.network.body.fc.bias
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[0] = float("nan")
        with pytest.raises(TrainingError, match=r"fc\.bias"):
            export_classifier(fitted, calibration, tmp_path / "x.onnx", **DESCRIPTION)
    finally:
        with torch.no_grad():
            weight.copy_(before)
    assert not list(tmp_path.iterdir())


def test_wrong_images_are_refused(exported):
    opened = ClassifierFile.open(exported[2])
    assert opened.predict(images(0)).shape == (0, 3)
    for wrong in (images(size=8), images(channels=1), images().astype(np.float32)):
        with pytest.raises(DataError, match="takes uint8"):
            opened.predict(wrong)


def test_damaged_and_foreign_files_are_refused(exported, tmp_path):
    path = tmp_path / "classifier.onnx"
    with pytest.raises(NotReadyError):
        ClassifierFile.open(path)
    data = exported[2].read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedError, match="cannot load"):
        ClassifierFile.open(path)
    for key, value, words in (
        ("format_version", "1", "format version"),
        ("classes", '["a"]', "list of classes"),
        ("classes", '["a","b"]', "does not fit"),
        ("image", '{"size":13,"channels":3}', "does not fit"),
        ("image", "[]", "image size"),
        ("provenance", "{", "not valid JSON"),
        (None, "", "not a classifier"),
    ):
        model = onnx.load(exported[2])
        kept = {item.key: item.value for item in model.metadata_props}
        onnx.helper.set_model_props(model, {**kept, key: value} if key else {})
        path.write_bytes(model.SerializeToString())
        with pytest.raises(MalformedError, match=words):
            ClassifierFile.open(path)
