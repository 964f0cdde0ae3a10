"""Write a trained classifier as one ONNX file whose bytes follow from weights and provenance alone.

Pixels go in as uint8; calibrated probabilities come out, and beside them how far each image is from
the training set: scaling, temperature and softmax are in the graph, so no user of the file can get
them wrong. The tracer records source lines, paths and module names of this
machine in every node; the model is rebuilt from bare operators, so that none of that leaves the
site and two machines write the same bytes.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from client_agent.classifier.calibration import (
    FAMILIAR_SHARE,
    HELD_OUT_EVERY,
    Calibration,
    mahalanobis,
)
from client_agent.classifier.file_format import (
    FORMAT_VERSION,
    IN_DISTRIBUTION_NAME,
    INPUT_NAME,
    PROBABILITIES_NAME,
)
from client_agent.classifier.network import ClassifierNetwork
from client_agent.classifier.training import FittedClassifier, reproducible
from client_agent.errors import TrainingError
from ff_protocol import canonical
from ff_protocol.files import write_atomically

OPSET = 18
# The oldest file format that holds operator set 18: readable by every runtime that could run it.
IR_VERSION = 8
_PRODUCER = "federated-factory"
_LEAST_DISTANCE = 1e-3


def export_classifier(
    fitted: FittedClassifier,
    calibration: Calibration,
    path: Path,
    *,
    preprocessing: dict[str, Any],
    provenance: dict[str, Any],
) -> None:
    """Write `fitted` to `path`, atomically.

    Args:
        fitted: the classifier.
        calibration: its temperature, and what is near enough to its training set.
        path: the file to write.
        preprocessing: how images are brought into shape; JSON types.
        provenance: what the classifier was made from; JSON types. Equal weights, calibration,
            preprocessing and provenance give equal bytes with the same software.

    Raises:
        TrainingError: a weight is not finite.
        MalformedError: preprocessing or provenance have no canonical JSON form.
        StorageError: the disk refuses.
    """
    model = build_model(fitted, calibration, preprocessing=preprocessing, provenance=provenance)
    write_atomically(path, model.SerializeToString(deterministic=True))


def build_model(
    fitted: FittedClassifier,
    calibration: Calibration,
    *,
    preprocessing: dict[str, Any],
    provenance: dict[str, Any],
) -> onnx.ModelProto:
    """Return the classifier as a checked ONNX model; as `export_classifier`."""
    for name, values in fitted.network.state_dict().items():
        if not torch.isfinite(values).all():
            raise TrainingError(f"weight {name} of the classifier is not finite; it is not written")
    model = _bare(_traced(fitted, calibration), fitted)
    metadata = {
        "calibration": {
            "temperature": calibration.temperature,
            "held_out": f"every {HELD_OUT_EVERY}th synthetic image of a class",
            "images": calibration.images,
            "in_distribution": "limit / Mahalanobis distance of the features to the nearest class",
            "within_limit": FAMILIAR_SHARE,
        },
        "classes": list(fitted.classes),
        "format_version": FORMAT_VERSION,
        "image": {"size": fitted.image_size, "channels": fitted.channels},
        "preprocessing": preprocessing,
        "provenance": provenance,
    }
    helper.set_model_props(
        model, {key: canonical.dumps(metadata[key]).decode() for key in sorted(metadata)}
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Outputs(nn.Module):
    """The network with temperature and softmax, and its images' nearness to the training set."""

    means: Tensor
    whitening: Tensor

    def __init__(self, network: ClassifierNetwork, calibration: Calibration) -> None:
        super().__init__()
        self.network = network
        self.sharpness = 1 / calibration.temperature
        self.limit = max(calibration.limit, _LEAST_DISTANCE)
        self.register_buffer("means", torch.from_numpy(calibration.means))
        self.register_buffer("whitening", torch.from_numpy(calibration.whitening))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.features(image)
        scores = self.network.scores(features) * self.sharpness
        distance = mahalanobis(features, self.means, self.whitening)
        nearness = self.limit / distance.clamp_min(_LEAST_DISTANCE)
        return torch.softmax(scores, dim=1), nearness


def _traced(fitted: FittedClassifier, calibration: Calibration) -> onnx.ModelProto:
    side = fitted.image_size
    example = torch.zeros(2, side, side, fitted.channels, dtype=torch.uint8)
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        # The optimiser folds normalisation into weights: how threads divide that must be fixed too.
        with reproducible(fitted.settings.threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Outputs(fitted.network, calibration).eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[PROBABILITIES_NAME, IN_DISTRIBUTION_NAME],
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
                external_data=False,
                verbose=False,
            )
    finally:
        exporter_log.setLevel(level)
    if program is None:  # only a request to write a file returns nothing
        raise RuntimeError("the exporter returned no program")
    return program.model_proto


def _bare(traced: onnx.ModelProto, fitted: FittedClassifier) -> onnx.ModelProto:
    """Rebuild from operators, attributes and weights alone; values are renamed by position."""
    fixed = ("", INPUT_NAME, PROBABILITIES_NAME, IN_DISTRIBUTION_NAME)
    names = {name: name for name in fixed}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"v{len(names) - len(fixed)}")

    initializers = [
        numpy_helper.from_array(
            np.ascontiguousarray(numpy_helper.to_array(tensor)), renamed(tensor.name)
        )
        for tensor in sorted(traced.graph.initializer, key=lambda tensor: tensor.name)
    ]
    nodes = []
    for node in traced.graph.node:
        bare = onnx.NodeProto(
            op_type=node.op_type,
            input=[renamed(name) for name in node.input],
            output=[renamed(name) for name in node.output],
        )
        bare.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        for attribute in bare.attribute:
            attribute.doc_string = ""
        nodes.append(bare)
    side = fitted.image_size
    graph = helper.make_graph(
        nodes,
        "classifier",
        [
            helper.make_tensor_value_info(
                INPUT_NAME, onnx.TensorProto.UINT8, ("n", side, side, fitted.channels)
            )
        ],
        [
            helper.make_tensor_value_info(
                PROBABILITIES_NAME, onnx.TensorProto.FLOAT, ("n", len(fitted.classes))
            ),
            helper.make_tensor_value_info(IN_DISTRIBUTION_NAME, onnx.TensorProto.FLOAT, ("n",)),
        ],
        initializers,
    )
    return helper.make_model(
        graph,
        producer_name=_PRODUCER,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
