"""What a foreign `module.onnx` may look like, decided on the parsed graph before anything runs it.

A module is data, so the rules are an allow-list: standard operators only, one `Loop` with a
constant bounded trip count, all weights inside the file, fixed input and output. Bytes come first
(`wire_format.py`), then the graph here, with its constants (`weights.py`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client_agent.errors import RefusedError
from client_agent.module.weights import check_weights
from client_agent.module.wire_format import check_wire_format
from ff_protocol.spec import FederationSpec

if TYPE_CHECKING:
    import onnx

INPUT_NAME = "noise"
OUTPUT_NAME = "image"
MIN_OPSET, MAX_OPSET = 17, 23
MIN_IR, MAX_IR = 4, 11
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

    data = path.read_bytes()
    check_wire_format(data)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise RefusedError("module.onnx: not an ONNX file") from error
    _check_header(model)
    graphs = list(_graphs(model.graph, depth=0))
    parameters = sum(check_weights(graph) for graph in graphs)
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
    if sum(node.op_type == "Loop" for node in model.graph.node) > 1:
        raise RefusedError("module.onnx: more than one Loop")
    _check_names(graphs)
    _check_interface(model.graph, spec)
    return parameters


def _check_header(model: "onnx.ModelProto") -> None:
    if not MIN_IR <= model.ir_version <= MAX_IR:
        raise RefusedError(
            f"module.onnx: file format {model.ir_version}, {MIN_IR} to {MAX_IR} are accepted"
        )
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
                raise RefusedError(f"module.onnx: {_shown(node)} with a body is not accepted")
            if attribute.HasField("g"):
                yield from _graphs(attribute.g, depth + 1)


def _check_node(node: "onnx.NodeProto", graph: "onnx.GraphProto", spec: FederationSpec) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPERATORS:
        raise RefusedError(f"module.onnx: operator {_shown(node)} is not accepted")
    names = [attribute.name for attribute in node.attribute]
    if len(set(names)) < len(names):
        raise RefusedError(f"module.onnx: {node.op_type} has an attribute twice")
    for attribute in node.attribute:
        if attribute.ref_attr_name or attribute.HasField("tp") or attribute.type_protos:
            raise RefusedError(f"module.onnx: {node.op_type} has an attribute that is no value")
    if node.op_type != "Loop":
        return
    trips = _constant(graph, node.input[0] if node.input else "")
    limit = spec.policy.max_sampler_steps
    if trips is None or trips.size != 1 or not 1 <= int(trips.reshape(-1)[0]) <= limit:
        raise RefusedError(f"module.onnx: the Loop must run a fixed 1 to {limit} times")


def _shown(node: "onnx.NodeProto") -> str:
    """A foreign operator's name, fit for a terminal and a log."""
    name = f"{node.domain[:40]}:{node.op_type[:40]}" if node.domain else node.op_type[:40]
    return ascii(name)[1:-1]


def _check_names(graphs: "Sequence[onnx.GraphProto]") -> None:
    """Every value has one name, in the whole file: what is checked is then what is run."""
    taken: set[str] = set()
    for graph in graphs:
        names = [
            *(value.name for value in graph.input),
            *(tensor.name for tensor in graph.initializer),
            *(name for node in graph.node for name in node.output if name),
        ]
        if len(set(names)) < len(names) or not taken.isdisjoint(names):
            raise RefusedError("module.onnx: two values have one name")
        taken.update(names)


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

    shape = (spec.image.channels, spec.image.size, spec.image.size)
    for values, name in ((list(graph.input), INPUT_NAME), (list(graph.output), OUTPUT_NAME)):
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
