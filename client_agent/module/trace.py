"""The network F as a bare ONNX graph, traced once for each preset.

- It is traced with random weights: nothing in the graph can depend on the trained ones, and a site
  with many classes traces once.
- The tracer records source lines, paths and module names of this machine in every node. The graph
  is rebuilt from bare operators, so none of that leaves the site.
"""

import functools
import itertools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from client_agent.generator.network import RawNetwork
from client_agent.generator.presets import Preset

WEIGHT, TRANSPOSED = "weight", "transposed"
"""Initialisers that hold a weight are named KIND:NAME; the exporter turns some weights round."""


@functools.lru_cache(maxsize=4)
def traced_network(preset: Preset, opset: int) -> onnx.ModelProto:
    """Trace F for `preset` with weights that are all different, and name its initialisers.

    The exporter folds some weights into constants under names of its own (those of the group
    normalisations reshaped, those of attention transposed), so initialisers are told apart by
    their values: each weight is filled with numbers that occur nowhere else.

    Returns:
        a model whose learnt initialisers are named `weight:NAME` or `transposed:NAME`, NAME being
        that in the network's `state_dict`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RawNetwork(preset).eval()
        for values in network.parameters():
            torch.nn.init.normal_(values)
    side = preset.image_size
    example = (torch.zeros(2, 2 * preset.channels, side, side), torch.zeros(1))
    with _quiet_exporter():
        program = torch.onnx.export(
            network,
            example,
            dynamo=True,
            external_data=False,
            opset_version=opset,
            input_names=["inputs", "c_noise"],
            output_names=["raw"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=1 << 20)}, None),
            verbose=False,
        )
    if program is None:
        raise AssertionError("the exporter returned nothing")
    return _renamed(program.model_proto, network)


def _renamed(traced: onnx.ModelProto, network: RawNetwork) -> onnx.ModelProto:
    """Keep operators, attributes and initialisers; drop every remark; number the names."""
    known = {}
    for name, values in network.state_dict().items():
        if values.ndim == 2:
            known[_content(values.numpy().T)] = (TRANSPOSED, name)
        known[_content(values.numpy())] = (WEIGHT, name)
    names: dict[str, str] = {"": ""}
    initialisers, unused = [], set(network.state_dict())
    for tensor in traced.graph.initializer:
        array = numpy_helper.to_array(tensor)
        kind, weight = known.get(_content(array), ("constant", str(len(names))))
        unused.discard(weight)
        names[tensor.name] = f"{kind}:{weight}"
        initialisers.append(numpy_helper.from_array(array, names[tensor.name]))
    if unused:
        raise AssertionError(f"weights lost in the export: {sorted(unused)}")
    counter = itertools.count()
    inputs = [value.name for value in traced.graph.input]
    for name in (*inputs, *(output for node in traced.graph.node for output in node.output)):
        names.setdefault(name, f"network_{next(counter)}")
    nodes = []
    for node in traced.graph.node:
        bare = onnx.NodeProto(
            op_type=node.op_type,
            input=[names[name] for name in node.input],
            output=[names[name] for name in node.output],
        )
        for attribute in node.attribute:
            bare.attribute.add().CopyFrom(attribute)
            bare.attribute[-1].ClearField("doc_string")
        nodes.append(bare)
    renamed = onnx.ModelProto()
    renamed.graph.node.extend(nodes)
    renamed.graph.initializer.extend(initialisers)
    for value in traced.graph.input:
        renamed.graph.input.add(name=names[value.name])
    for value in traced.graph.output:
        renamed.graph.output.add(name=names[value.name])
    return renamed


def _content(array: NDArray[Any]) -> bytes:
    """What stays the same when a weight is reshaped."""
    return np.ascontiguousarray(array).tobytes()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns about packages that it could use and we do not."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
