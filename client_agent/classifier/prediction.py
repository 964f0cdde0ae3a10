"""Use `classifier.onnx`: onnxruntime and NumPy only, so that predicting needs no torch.

The options that influence the result are fixed: the same file and images give the same
probabilities on the same software and kind of CPU, whatever else the machine is doing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client_agent.classifier.file_format import (
    FORMAT_VERSION,
    IN_DISTRIBUTION_NAME,
    INPUT_NAME,
    MAX_FILE_BYTES,
    MAX_METADATA_BYTES,
    METADATA_KEYS,
    PROBABILITIES_NAME,
)
from client_agent.errors import DataError, NotReadyError
from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded

_THREADS = 1
_HINT = "run: ff-agent fit"


@dataclass(frozen=True)
class ClassifierFile:
    """An opened classifier.

    Attributes:
        digest: SHA-256 of the file, 64 hexadecimal digits.
        classes: names in the order of the probabilities.
        image_size: height and width of the images in pixels.
        channels: 1 or 3.
        preprocessing: how an image file becomes uint8 [H, W, C].
        provenance: what it was trained on and with.
        calibration: its temperature and how the limit of `in_distribution` was found.
    """

    digest: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    preprocessing: dict[str, Any]
    provenance: dict[str, Any]
    calibration: dict[str, Any]
    _session: Any

    @classmethod
    def open(cls, path: Path) -> "ClassifierFile":
        """Read and check a file.

        Raises:
            NotReadyError: there is no such file.
            MalformedError: it is not a classifier of this software, or is damaged.
        """
        try:
            data = read_bounded(path, MAX_FILE_BYTES, "classifier")
        except FileNotFoundError as error:
            raise NotReadyError(f"there is no classifier at {path}", hint=_HINT) from error
        session = _session(data, path.name)
        metadata = _metadata(session, path.name)
        classes, image = metadata["classes"], metadata["image"]
        _check_signature(session, len(classes), image, path.name)
        return cls(
            digest=canonical.sha256_hex(data),
            classes=tuple(classes),
            image_size=image["size"],
            channels=image["channels"],
            preprocessing=metadata["preprocessing"],
            provenance=metadata["provenance"],
            calibration=metadata["calibration"],
            _session=session,
        )

    @property
    def temperature(self) -> float:
        """What the scores are divided by before the softmax."""
        return float(self.calibration["temperature"])

    def prepare(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Bring one image into the classifier's shape, as its training images were.

        Args:
            pixels: [H, W] or [H, W, 1..4], bool, integer or floating; what a viewer would show.

        Returns:
            uint8 [1, image_size, image_size, channels].

        Raises:
            DataError: not an image, or the file was made with other rules of preparation.
        """
        from client_agent.preparation.prepare import check_description, prepare

        size, channels = check_description(self.preprocessing)
        return prepare(pixels, image_size=size, channels=channels)[None]

    def predict(self, images: NDArray[np.uint8], batch_size: int = 256) -> NDArray[np.float32]:
        """Return probabilities float32 [n, k] for `images`, uint8 [n, H, W, C]; n may be 0.

        Raises:
            DataError: the images do not have the classifier's shape.
        """
        return self.run(images, batch_size)[0]

    def run(
        self, images: NDArray[np.uint8], batch_size: int = 256
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities float32 [n, k], and `in_distribution`, float32 [n].

        Where `in_distribution` is below 1 the image is further from all training images than 99 %
        of images of their kind: the classifier was not trained on this.

        Raises:
            DataError: the images do not have the classifier's shape.
        """
        shape = (self.image_size, self.image_size, self.channels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
            raise DataError(
                f"images are {images.dtype} {list(images.shape)}, the classifier takes uint8 [n, "
                f"{', '.join(map(str, shape))}]"
            )
        probabilities = np.empty((len(images), len(self.classes)), dtype=np.float32)
        nearness = np.empty(len(images), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = np.ascontiguousarray(images[start : start + batch_size])
            part = slice(start, start + len(batch))
            probabilities[part], nearness[part] = self._session.run(
                [PROBABILITIES_NAME, IN_DISTRIBUTION_NAME], {INPUT_NAME: batch}
            )
        return probabilities, nearness


def _session(data: bytes, name: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise MalformedError(f"{name}: onnxruntime cannot load it", hint=_HINT) from error


def _metadata(session: Any, name: str) -> dict[str, Any]:
    """Parse and check the JSON values of the file's metadata."""
    raw = session.get_modelmeta().custom_metadata_map
    missing = [key for key in METADATA_KEYS if key not in raw]
    if missing:
        raise MalformedError(f"{name}: not a classifier of this software (no {missing[0]!r})")
    parsed = {
        key: canonical.loads(raw[key].encode(), max_bytes=MAX_METADATA_BYTES, what=f"{name}: {key}")
        for key in METADATA_KEYS
    }
    if parsed["format_version"] != FORMAT_VERSION:
        raise MalformedError(
            f"{name}: format version {parsed['format_version']!r}, this software reads "
            f"{FORMAT_VERSION}",
            hint=_HINT,
        )
    classes, image = parsed["classes"], parsed["image"]
    if not (
        isinstance(classes, list)
        and len(classes) >= 2
        and all(isinstance(item, str) for item in classes)
        and len(set(classes)) == len(classes)
    ):
        raise MalformedError(f"{name}: its list of classes is not valid")
    if not (
        isinstance(image, dict)
        and type(image.get("size")) is int
        and type(image.get("channels")) is int
    ):
        raise MalformedError(f"{name}: its image size is not valid")
    for key in ("calibration", "preprocessing", "provenance"):
        if not isinstance(parsed[key], dict):
            raise MalformedError(f"{name}: its {key} is not valid")
    return parsed


def _check_signature(session: Any, classes: int, image: dict[str, int], name: str) -> None:
    """Compare the graph's input and output with what the metadata promises."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = [image["size"], image["size"], image["channels"]]
    if (
        [(value.name, value.type) for value in inputs] != [(INPUT_NAME, "tensor(uint8)")]
        or [(value.name, value.type) for value in outputs]
        != [(output, "tensor(float)") for output in (PROBABILITIES_NAME, IN_DISTRIBUTION_NAME)]
        or inputs[0].shape[1:] != shape
        or outputs[0].shape[1:] != [classes]
        or outputs[1].shape[1:] != []
    ):
        raise MalformedError(f"{name}: its graph does not fit its metadata", hint=_HINT)
