"""What a foreign `module.onnx` may look like, decided on the parsed graph before anything runs it.

A module is data, so the rules are an allow-list: standard operators only, one `Loop` with a
constant bounded trip count, all weights inside the file, fixed input and output.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client_agent.errors import RefusedError
from ff_protocol.spec import FederationSpec

if TYPE_CHECKING:
    import onnx

INPUT_NAME = "noise"
OUTPUT_NAME = "image"
MIN_OPSET, MAX_OPSET = 17, 23
MAX_NODES = 20_000

_OPERATORS = """
    Abs Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv
    ConvTranspose Cos DepthToSpace Div Equal Exp Expand Flatten Gather Gemm GlobalAveragePool
    GroupNormalization Identity InstanceNormalization LayerNormalization Log Loop MatMul Max Min
    Mul Neg Pad Pow Range Reciprocal ReduceMean ReduceSum Relu Reshape Resize Shape Sigmoid Sin
    Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where
"""
ALLOWED_OPERATORS = frozenset(_OPERATORS.split())


def check_structure(path: Path, spec: FederationSpec, max_nodes: int | None = None) -> int:
    """Check a module's graph; return the number of weights.

    Args:
        path: `module.onnx`, whose size has been checked already.
        spec: for the image shape and the policy's limits.
        max_nodes: a tighter limit than MAX_NODES.

    Raises:
        RefusedError: naming the first rule that does not hold.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as error:
        raise RefusedError("module.onnx: not an ONNX file") from error
    _check_header(model)
    graphs = list(_graphs(model.graph, depth=0))
    parameters = sum(_check_initialisers(graph) for graph in graphs)
    if parameters > spec.policy.max_parameters:
        raise RefusedError(
            f"module.onnx: {parameters} weights, at most {spec.policy.max_parameters} are accepted"
        )
    limit = min(MAX_NODES, max_nodes or MAX_NODES)
    if sum(len(graph.node) for graph in graphs) > limit:
        raise RefusedError(f"module.onnx: more than {limit} nodes")
    for graph in graphs:
        for node in graph.node:
            _check_node(node, graph, spec)
    _check_interface(model.graph, spec)
    return parameters


def _check_header(model: "onnx.ModelProto") -> None:
    if model.functions or model.training_info:
        raise RefusedError("module.onnx: local functions are not accepted")
    if len(model.opset_import) != 1 or model.opset_import[0].domain not in ("", "ai.onnx"):
        raise RefusedError("module.onnx: only standard operators (domain ai.onnx) are accepted")
    if not MIN_OPSET <= model.opset_import[0].version <= MAX_OPSET:
        raise RefusedError(
            f"module.onnx: operator set {model.opset_import[0].version}, "
            f"{MIN_OPSET} to {MAX_OPSET} are accepted"
        )


def _graphs(graph: "onnx.GraphProto", depth: int) -> Iterator["onnx.GraphProto"]:
    """The graph and the bodies inside it; a `Loop` body may hold no further loop."""
    if depth > 1:
        raise RefusedError("module.onnx: graphs nested deeper than one Loop")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.graphs or (attribute.HasField("g") and node.op_type != "Loop"):
                raise RefusedError(f"module.onnx: {node.op_type[:40]} with a body is not accepted")
            if attribute.HasField("g"):
                yield from _graphs(attribute.g, depth + 1)


def _check_initialisers(graph: "onnx.GraphProto") -> int:
    import onnx

    if graph.sparse_initializer:
        raise RefusedError("module.onnx: sparse weights are not accepted")
    constants = [
        attribute.t
        for node in graph.node
        for attribute in node.attribute
        if attribute.HasField("t")
    ]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.tensors or attribute.HasField("sparse_tensor"):
                raise RefusedError("module.onnx: lists of tensors or sparse ones are not accepted")
    total = 0
    for tensor in [*graph.initializer, *constants]:
        if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
            raise RefusedError("module.onnx: external data is not accepted")
        if tensor.data_type not in _ITEM_BYTES:
            raise RefusedError("module.onnx: weights of an unusual type are not accepted")
        count = 1
        for size in tensor.dims:
            if size < 0 or (count := count * size) > 2**40:
                raise RefusedError("module.onnx: a weight claims an impossible size")
        held = len(tensor.raw_data) or _typed_bytes(tensor)
        if held != count * _ITEM_BYTES[tensor.data_type]:
            raise RefusedError("module.onnx: a weight's size and its data disagree")
        total += count
    return total


# Bytes an item, by TensorProto.DataType: FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16.
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2}


def _typed_bytes(tensor: "onnx.TensorProto") -> int:
    """Size that typed fields stand for; they are counted in items, not stored bytes."""
    items = len(tensor.float_data) + len(tensor.int32_data) + len(tensor.int64_data)
    return items * _ITEM_BYTES[tensor.data_type]


def _check_node(node: "onnx.NodeProto", graph: "onnx.GraphProto", spec: FederationSpec) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPERATORS:
        raise RefusedError(
            f"module.onnx: operator {node.domain[:40]}:{node.op_type[:40]} is not accepted"
        )
    if node.op_type != "Loop":
        return
    trips = _constant(graph, node.input[0] if node.input else "")
    limit = spec.policy.max_sampler_steps
    if trips is None or trips.size != 1 or not 1 <= int(trips.reshape(-1)[0]) <= limit:
        raise RefusedError(f"module.onnx: the Loop must run a fixed 1 to {limit} times")


def _constant(graph: "onnx.GraphProto", name: str) -> Any:
    """The value of an initialiser or `Constant` node of this graph, or None."""
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and list(node.output) == [name]:
            for attribute in node.attribute:
                if attribute.name == "value":
                    return numpy_helper.to_array(attribute.t)
    return None


def _check_interface(graph: "onnx.GraphProto", spec: FederationSpec) -> None:
    import onnx

    initialised = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialised]
    shape = (spec.image.channels, spec.image.size, spec.image.size)
    for values, name in ((inputs, INPUT_NAME), (list(graph.output), OUTPUT_NAME)):
        if [value.name for value in values] != [name]:
            raise RefusedError(f"module.onnx: must have exactly one value named {name!r} there")
        tensor = values[0].type.tensor_type
        dims = tuple(dim.dim_value for dim in tensor.shape.dim)
        if tensor.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4 or dims[1:] != shape:
            raise RefusedError(
                f"module.onnx: {name} must be float32 [n, {shape[0]}, {shape[1]}, {shape[2]}], "
                f"it is {list(dims)}"
            )
        if tensor.shape.dim[0].dim_value > 0:
            raise RefusedError(f"module.onnx: the batch of {name} must be free")
