"""Write a trained generator as one ONNX file that holds the whole sampler.

Whoever has `module.onnx` needs no knowledge of how it was made: unit noise in, images out. The
network F is traced once by torch's exporter (client_agent/module/trace.py); an ONNX `Loop` round it
then runs the solver's table (client_agent/generator/sampler.py). Three choices matter:

- The weights sit inside the Loop's body. Captured from the outer graph they are no constants there,
  runtimes cannot lay them out in advance, and sampling runs at 0.6 of the speed.
- The trained weights are put into the trace by name. Nothing in the graph can then depend on them
  (no value-dependent folding), and the bytes follow from preset and weights alone.
- Learnt numbers are stored in half precision, which `train_generator` has rounded them to; a
  runtime widens them once, when it loads the file.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from client_agent.errors import TrainingError
from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.sampler import SolverTable, preset_table
from client_agent.generator.training import TrainedGenerator
from client_agent.module.table import ESTIMATE, PREFIX, network_columns
from client_agent.module.trace import TRANSPOSED, WEIGHT, traced_network
from ff_protocol.files import write_atomically

OPSET = 18
# The oldest file format that holds operator set 18: readable by every runtime that could run it.
IR_VERSION = 8
INPUT_NAME, OUTPUT_NAME = "noise", "image"
_PRODUCER = "federated-factory"
# Clipped to 0 and 1, any difference of two float32 numbers near 1 times this is a comparison.
_STEEP = 1e30
_BEYOND = 1e6


def export_module(trained: TrainedGenerator, path: Path, opset: int = OPSET) -> None:
    """Write `trained` and its sampler to `path`, atomically.

    The module takes `noise`, float32 [n, C, H, W] ~ N(0, I), and gives `image`, float32
    [n, C, H, W] in [0, 1]; n is free. The same weights and software give the same bytes.

    Args:
        trained: the generator.
        path: the file to write.
        opset: version of the standard operator set.

    Raises:
        TrainingError: a weight is not finite.
        StorageError: the disk refuses.
    """
    model = build_module(trained, opset)
    write_atomically(path, model.SerializeToString(deterministic=True))


def build_module(trained: TrainedGenerator, opset: int = OPSET) -> onnx.ModelProto:
    """Return the module as a checked ONNX model; as `export_module`."""
    weights = {
        name: tensor.detach().float().contiguous().numpy()
        for name, tensor in trained.network.state_dict().items()
    }
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise TrainingError(
                f"weight {name} is not finite: this generator cannot be exported",
                hint="train again with a lower peak_lr",
            )
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(traced_network(trained.preset, opset))
    _fill_in(skeleton.graph, weights)
    graph = _sampler_graph(trained, skeleton.graph)
    model = helper.make_model(
        graph,
        producer_name=_PRODUCER,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _sampler_graph(trained: TrainedGenerator, network: onnx.GraphProto) -> onnx.GraphProto:
    """noise -> z, coloured -> Loop over the table -> clip((z + mu) / 2 + 1/2)."""
    gaussian = trained.gaussian
    table = preset_table(trained.preset, gaussian)
    start = float(table.sigma[0])
    nodes = [
        helper.make_node("Cast", ["basis_half"], ["basis"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["basis"], ["basis_turned"], perm=[1, 0]),
        *_start_nodes(),
        helper.make_node("Sub", [INPUT_NAME, INPUT_NAME], ["estimate_start"]),
        helper.make_node(
            "Loop",
            ["steps", "", "z_start", "estimate_start"],
            ["z_end", "estimate_end"],
            body=_loop_body(network, table, trained),
        ),
        helper.make_node("Add", ["z_end", "mu"], ["signed"]),
        helper.make_node("Mul", ["signed", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], ["unit"]),
        helper.make_node("Clip", ["unit", "zero", "one"], [OUTPUT_NAME]),
    ]
    constants = {
        **_start_constants(gaussian, start),
        "basis_half": gaussian.basis.numpy().astype(np.float16),
        "flat_shape": np.array([-1, gaussian.mean.numel()], np.int64),
        "image_shape": np.array([-1, *gaussian.mean.shape], np.int64),
        "steps": np.int64(len(table.a)),
        "mu": gaussian.mean.numpy()[None],
        "half": np.float32(0.5),
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
    }
    shape = ("n", trained.preset.channels, trained.preset.image_size, trained.preset.image_size)
    return helper.make_graph(
        nodes,
        "sampler",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, shape)],
        [_tensor(name, value) for name, value in constants.items()],
    )


def _start_nodes() -> list[onnx.NodeProto]:
    """z_start: noise stretched along the components, and shifted, as its part of the mixture says.

    The part is the number of bounds that one of the noise's numbers lies above.
    """
    node = helper.make_node
    return [
        node("Reshape", [INPUT_NAME, "flat_shape"], ["start_flat"]),
        node("Gather", ["start_flat", "start_pixel"], ["start_number"], axis=1),
        node("Sub", ["start_number", "start_bounds"], ["start_beyond"]),
        node("Mul", ["start_beyond", "start_steep"], ["start_steeper"]),
        node("Clip", ["start_steeper", "zero", "one"], ["start_above"]),
        node("ReduceSum", ["start_above", "axis_1"], ["start_count"], keepdims=0),
        node("Cast", ["start_count"], ["start_part"], to=TensorProto.INT64),
        node("Gather", ["start_scales", "start_part"], ["start_along"], axis=0),
        node("Gather", ["start_means", "start_part"], ["start_shift"], axis=0),
        *_filter_nodes(INPUT_NAME, "start_along", "start_rest", "start_coloured"),
        node("MatMul", ["start_shift", "basis_turned"], ["start_moved"]),
        node("Reshape", ["start_moved", "image_shape"], ["start_place"]),
        node("Add", ["start_coloured", "start_place"], ["z_start"]),
    ]


def _start_constants(gaussian: ClassGaussian, sigma: float) -> dict[str, Any]:
    """What `_start_nodes` reads."""
    mixture = gaussian.start
    rest = (gaussian.rest + sigma**2) ** 0.5
    return {
        "start_pixel": np.array([mixture.pixel], np.int64),
        # One bound that no number passes, where there is one part: no tensor is empty.
        "start_bounds": np.append(mixture.bounds.numpy(), np.float32(_BEYOND))[None],
        "start_steep": np.float32(_STEEP),
        "start_scales": (mixture.scales(sigma).numpy() - rest).astype(np.float32),
        "start_means": mixture.means.numpy().astype(np.float32),
        "start_rest": np.float32(rest),
        "axis_1": np.array([1], np.int64),
    }


def _filter_nodes(x: str, along: str, rest: str, result: str) -> list[onnx.NodeProto]:
    """result = rest x + U (along (U^T x)): `ClassGaussian`'s filter, `along` less `rest`."""
    node = helper.make_node
    return [
        node("Reshape", [x, "flat_shape"], [f"{result}_flat"]),
        node("MatMul", [f"{result}_flat", "basis"], [f"{result}_inside"]),
        node("Mul", [f"{result}_inside", along], [f"{result}_scaled"]),
        node("MatMul", [f"{result}_scaled", "basis_turned"], [f"{result}_back"]),
        node("Reshape", [f"{result}_back", "image_shape"], [f"{result}_along"]),
        node("Mul", [x, rest], [f"{result}_rest"]),
        node("Add", [f"{result}_along", f"{result}_rest"], [result]),
    ]


def _loop_body(
    network: onnx.GraphProto, table: SolverTable, trained: TrainedGenerator
) -> onnx.GraphProto:
    """One solver step: (i, condition, z, d') -> (condition, next z, d), the weights inside.

    The network's own values are named `network_N` or `KIND:NAME`, so that none can clash.
    """
    gaussian, preset = trained.gaussian, trained.preset
    columns = {
        **network_columns(table.sigma, gaussian.sigma_data, gaussian.spectrum, table.c_out),
        "a": table.a,
        "b": table.b,
        "c": table.c,
    }
    nodes = [
        helper.make_node("Gather", [PREFIX + column, "i"], [column], axis=0) for column in columns
    ]
    nodes += [
        *_filter_nodes("z", "gain_along", "gain_rest", "linear"),
        helper.make_node("Mul", ["z", "c_in"], ["z_scaled"]),
        helper.make_node("Mul", ["linear", "c_estimate"], ["linear_input"]),
        helper.make_node("Concat", ["z_scaled", "linear_input"], [network.input[0].name], axis=1),
        helper.make_node("Unsqueeze", ["c_noise", "axis_0"], [network.input[1].name]),
        *network.node,
        helper.make_node("Mul", [network.output[0].name, "c_out"], ["predicted"]),
        helper.make_node("Add", ["linear", "predicted"], [ESTIMATE]),
        helper.make_node("Mul", ["z", "a"], ["kept"]),
        helper.make_node("Mul", [ESTIMATE, "b"], ["moved"]),
        helper.make_node("Mul", ["before", "c"], ["corrected"]),
        helper.make_node("Add", ["kept", "moved"], ["first_order"]),
        helper.make_node("Add", ["first_order", "corrected"], ["z_next"]),
        helper.make_node("Identity", ["condition"], ["condition_next"]),
    ]
    tables = [
        _tensor(PREFIX + column, values.astype(np.float32)) for column, values in columns.items()
    ]
    shape = ("n", preset.channels, preset.image_size, preset.image_size)
    image = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    flag = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.BOOL, shape=[])
    counter = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    return helper.make_graph(
        nodes,
        "step",
        [counter, flag("condition"), image("z", shape=shape), image("before", shape=shape)],
        [flag("condition_next"), image("z_next", shape=shape), image(ESTIMATE, shape=shape)],
        [*network.initializer, *tables, _tensor("axis_0", np.array([0], np.int64))],
    )


def _tensor(name: str, value: Any) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _fill_in(graph: onnx.GraphProto, weights: dict[str, NDArray[np.float32]]) -> None:
    """Put trained weights, in half precision, into the initialisers that the trace named."""
    widening = []
    for tensor in graph.initializer:
        kind, _, name = tensor.name.partition(":")
        if kind in (WEIGHT, TRANSPOSED):
            values = weights[name].T if kind == TRANSPOSED else weights[name]
            widened = tensor.name
            tensor.name = f"half_{widened}"
            tensor.data_type = TensorProto.FLOAT16
            tensor.raw_data = np.ascontiguousarray(values, "<f2").tobytes()
            widening.append(
                helper.make_node("Cast", [tensor.name], [widened], to=TensorProto.FLOAT)
            )
    network = list(graph.node)
    del graph.node[:]
    graph.node.extend(widening + network)
