"""Take the denoiser out of a module: a model that restores noisy images of the module's class.

The body of a module's Loop (client_agent/module/export.py) holds the class's denoiser D and runs it
at the noise levels of the solver's table. Here the same nodes and weights get a table of other
levels, and what comes out is D itself. The covariance of the class, which the table's entries
follow from, is read back from the gains that the module carries.

The result has the interface of a module, float32 [n, C, H, W] to the same shape, so it is confined
and bounded as a module is (client_agent/sandbox): its rows are L blocks of n / L images, block l
noised at level l.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import RefusedError
from client_agent.generator.spectrum import Spectrum
from client_agent.module.structure import INPUT_NAME, OUTPUT_NAME
from client_agent.module.table import ESTIMATE, PREFIX, network_columns

if TYPE_CHECKING:
    import onnx


def denoiser_model(module: Path, levels: Sequence[float]) -> bytes:
    """Return the denoiser of an admitted module as an ONNX file.

    Args:
        module: `module.onnx`, whose structure has been checked.
        levels: noise levels, standard deviations in units of images in [-1, 1]; at least one.

    Returns:
        A model from noisy images to restored ones, both float32 [n, C, H, W] around [-1, 1], n a
        multiple of the number of levels: rows from n l / L on have level l.

    Raises:
        RefusedError: the module was not written by this software, or by a version of another form.
    """
    import onnx

    model = onnx.load_model_from_string(module.read_bytes())
    try:
        graph = _denoiser_graph(model.graph, np.asarray(levels, np.float64))
    except (KeyError, StopIteration, IndexError, ValueError) as error:
        raise RefusedError(
            "module.onnx: no denoiser can be read from it, only sampled images",
            hint="ask without --evidence: a classifier can be had from any module",
        ) from error
    model.graph.CopyFrom(graph)
    return bytes(model.SerializeToString(deterministic=True))


def _denoiser_graph(outer: "onnx.GraphProto", levels: NDArray[np.float64]) -> "onnx.GraphProto":
    """noisy images -> [L, n / L, ...] -> Loop over the levels -> restored images."""
    from onnx import TensorProto, helper

    loop = next(node for node in outer.node if node.op_type == "Loop")
    body = next(attribute.g for attribute in loop.attribute if attribute.HasField("g"))
    constants = {tensor.name: tensor for tensor in outer.initializer}
    mu = _values(constants["mu"])
    shape = [len(levels), -1, *mu.shape[1:]]
    inner = _level_body(body, _table(body, levels, mu.size))
    captured = {name for node in inner.node for name in node.input}
    nodes = [
        *_needed(outer.node, captured),
        helper.make_node("Reshape", [INPUT_NAME, "evidence_stack"], ["evidence_noisy"]),
        helper.make_node("Loop", ["evidence_levels", ""], ["evidence_restored"], body=inner),
        helper.make_node("Reshape", ["evidence_restored", "evidence_flat"], [OUTPUT_NAME]),
    ]
    return helper.make_graph(
        nodes,
        "denoiser",
        [outer.input[0]],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ("n", *mu.shape[1:]))],
        [
            *outer.initializer,
            _tensor("evidence_stack", np.array(shape, np.int64)),
            _tensor("evidence_flat", np.array([-1, *mu.shape[1:]], np.int64)),
            _tensor("evidence_levels", np.int64(len(levels))),
        ],
    )


def _level_body(
    body: "onnx.GraphProto", table: dict[str, NDArray[np.float64]]
) -> "onnx.GraphProto":
    """One level: (l, condition) -> (condition, restored images), the weights inside as before."""
    from onnx import TensorProto, helper

    counter, condition, z = (value.name for value in body.input[:3])
    nodes = [
        helper.make_node("Gather", ["evidence_noisy", counter], ["evidence_block"], axis=0),
        helper.make_node("Sub", ["evidence_block", "mu"], [z]),
        *_needed(body.node, {ESTIMATE}),
        helper.make_node("Add", [ESTIMATE, "mu"], ["evidence_image"]),
        helper.make_node("Identity", [condition], ["evidence_condition"]),
    ]
    kept = [tensor for tensor in body.initializer if not tensor.name.startswith(PREFIX)]
    flag = helper.make_tensor_value_info("evidence_condition", TensorProto.BOOL, [])
    image = helper.make_tensor_value_info("evidence_image", TensorProto.FLOAT, None)
    entries = [_tensor(PREFIX + name, column.astype(np.float32)) for name, column in table.items()]
    return helper.make_graph(nodes, "level", body.input[:2], [flag, image], [*kept, *entries])


def _table(
    body: "onnx.GraphProto", levels: NDArray[np.float64], size: int
) -> dict[str, NDArray[np.float64]]:
    """Work out what the network is given at each level, as export.py does at the solver's."""
    stored = {
        tensor.name.removeprefix(PREFIX): _values(tensor)
        for tensor in body.initializer
        if tensor.name.startswith(PREFIX)
    }
    _check_shapes(stored, size)
    with np.errstate(all="ignore"):  # nonsense gives nonsense, which is refused as not finite
        sigma_data = 1 / stored["c_estimate"][0]
        spectrum = _spectrum(stored, sigma_data, size)
        c_out = [spectrum.error(float(sigma)) for sigma in levels]
        return network_columns(levels, sigma_data, spectrum, c_out)


def _check_shapes(stored: dict[str, Any], size: int) -> None:
    """Arrays of other shapes, spread over each other, could fill the memory."""
    steps = stored["c_noise"].shape
    if len(steps) != 1 or any(stored[name].shape != steps for name in ("c_estimate", "gain_rest")):
        raise ValueError("a table's columns differ in length")
    if stored["gain_along"].ndim != 2 or len(stored["gain_along"]) != steps[0]:
        raise ValueError("a table's columns differ in length")
    if not 1 <= stored["gain_along"].shape[1] <= size:
        raise ValueError("more components than pixels")


def _spectrum(stored: dict[str, Any], sigma_data: float, size: int) -> Spectrum:
    """Invert gain = v / (v + sigma^2) where it is nearest to a half, and so most exact."""
    sigmas = sigma_data * np.exp(4 * stored["c_noise"])[:, None]
    rest = stored["gain_rest"][:, None]
    gains = np.concatenate([stored["gain_along"] + rest, rest], axis=1).clip(1e-6, 1 - 1e-6)
    best = np.abs(gains - 0.5).argmin(axis=0)
    gain, sigma = gains[best, np.arange(gains.shape[1])], sigmas[best, 0]
    variances = sigma**2 * gain / (1 - gain)
    return Spectrum(variances[:-1], float(variances[-1]), size)


def _needed(nodes: Any, names: set[str]) -> list[Any]:
    """The nodes that `names` depend on, in their order."""
    wanted, kept = set(names), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _values(tensor: Any) -> NDArray[np.float64]:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor), np.float64)


def _tensor(name: str, value: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value), name)
