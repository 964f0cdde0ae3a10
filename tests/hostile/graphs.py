"""Small ONNX graphs of the federation's shape: 8 x 8 grey images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = ["n", 1, 8, 8]
node = helper.make_node


def value(name: str, shape: Sequence[Any] = SHAPE, kind: int = TensorProto.FLOAT) -> Any:
    """Declare a graph's input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, content: Any) -> onnx.TensorProto:
    """An initialiser."""
    return numpy_helper.from_array(np.asarray(content), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    initialisers: Sequence[onnx.TensorProto] = (),
    *,
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    opsets: Sequence[tuple[str, int]] = (("", 18),),
    ir_version: int = 9,
) -> onnx.ModelProto:
    """A module of these nodes, from `noise` to `image`."""
    graph = helper.make_graph(
        nodes,
        "module",
        inputs if inputs is not None else [value("noise")],
        outputs if outputs is not None else [value("image")],
        initialisers,
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def honest() -> onnx.ModelProto:
    """What is admitted: every image is its noise, squeezed into the range."""
    return model([node("Sigmoid", ["noise"], ["image"])])


def honest_model() -> bytes:
    """The same as a file."""
    return honest().SerializeToString()


def with_initialiser(tensor: onnx.TensorProto) -> bytes:
    """An honest module with one more constant."""
    made = honest()
    made.graph.initializer.append(tensor)
    return made.SerializeToString()


def adding(nodes: Sequence[onnx.NodeProto], *initialisers: onnx.TensorProto) -> bytes:
    """A module that adds the value `extra`, reduced to one number, to an honest image."""
    tail = [
        node("ReduceSum", ["extra"], ["extra_sum"], keepdims=0),
        node("Sigmoid", ["extra_sum"], ["extra_unit"]),
        node("Add", ["noise", "extra_unit"], ["moved"]),
        node("Sigmoid", ["moved"], ["image"]),
    ]
    return model([*nodes, *tail], initialisers).SerializeToString()


def looping(
    body_nodes: Sequence[onnx.NodeProto],
    *initialisers: onnx.TensorProto,
    trips: int = 256,
    shape: Sequence[Any] = SHAPE,
    before: Sequence[onnx.NodeProto] = (),
    beside: Sequence[onnx.TensorProto] = (),
    start: str = "noise",
    scans: bool = False,
) -> bytes:
    """A module that turns `x` into `y` in a loop and adds what comes out, reduced to one number.

    `initialisers` are in the body; nodes `before` and constants `beside` it make `start`. With
    `scans` the loop keeps what every turn makes.
    """
    outputs = [value("go_on", [], TensorProto.BOOL), value("y", shape)]
    nodes = [node("Identity", ["go"], ["go_on"]), *body_nodes]
    if scans:
        nodes.append(node("Identity", ["y"], ["kept"]))
        outputs.append(value("kept", shape))
    body = helper.make_graph(
        nodes,
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("x", shape)],
        outputs,
        initialisers,
    )
    results = ["unused", "extra"] if scans else ["extra"]
    loop = node("Loop", ["trips", "", start], results, body=body)
    return adding([*before, loop], constant("trips", np.int64(trips)), *beside)
