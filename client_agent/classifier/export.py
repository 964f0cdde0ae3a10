"""Write a trained classifier as one ONNX file whose bytes follow from weights and provenance alone.

Pixels go in as uint8 and probabilities come out: scaling and softmax are in the graph, so no user
of the file can get them wrong. The tracer records source lines, paths and module names of this
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

from client_agent.classifier.file_format import FORMAT_VERSION, INPUT_NAME, OUTPUT_NAME
from client_agent.classifier.training import FittedClassifier, reproducible
from client_agent.errors import TrainingError
from ff_protocol import canonical
from ff_protocol.files import write_atomically

OPSET = 18
# The oldest file format that holds operator set 18: readable by every runtime that could run it.
IR_VERSION = 8
_PRODUCER = "federated-factory"


def export_classifier(
    fitted: FittedClassifier,
    path: Path,
    *,
    preprocessing: dict[str, Any],
    provenance: dict[str, Any],
) -> None:
    """Write `fitted` to `path`, atomically.

    Args:
        fitted: the classifier.
        path: the file to write.
        preprocessing: how images are brought into shape; JSON types.
        provenance: what the classifier was made from; JSON types. Equal weights, preprocessing
            and provenance give equal bytes with the same software.

    Raises:
        TrainingError: a weight is not finite.
        MalformedError: preprocessing or provenance have no canonical JSON form.
        StorageError: the disk refuses.
    """
    model = build_model(fitted, preprocessing=preprocessing, provenance=provenance)
    write_atomically(path, model.SerializeToString(deterministic=True))


def build_model(
    fitted: FittedClassifier, *, preprocessing: dict[str, Any], provenance: dict[str, Any]
) -> onnx.ModelProto:
    """Return the classifier as a checked ONNX model; as `export_classifier`."""
    for name, values in fitted.network.state_dict().items():
        if not torch.isfinite(values).all():
            raise TrainingError(f"weight {name} of the classifier is not finite; it is not written")
    model = _bare(_traced(fitted), fitted)
    metadata = {
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


class _Probabilities(nn.Module):
    """The network with its softmax."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network(image), dim=1)


def _traced(fitted: FittedClassifier) -> onnx.ModelProto:
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
                _Probabilities(fitted.network).eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
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
    names = {"": "", INPUT_NAME: INPUT_NAME, OUTPUT_NAME: OUTPUT_NAME}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"v{len(names) - 3}")

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
                OUTPUT_NAME, onnx.TensorProto.FLOAT, ("n", len(fitted.classes))
            )
        ],
        initializers,
    )
    return helper.make_model(
        graph,
        producer_name=_PRODUCER,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
