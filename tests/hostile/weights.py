"""Attacks by constants: data elsewhere, data that are not there, data of another kind or size."""

import numpy as np
from onnx import TensorProto, helper

from tests.hostile.attack import Attack
from tests.hostile.graphs import constant, honest, node, with_initialiser

FLOAT = TensorProto.FLOAT


def _external(**entries: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def _external_by_default() -> bytes:
    tensor = constant("w", np.float32([1]))
    tensor.external_data.add(key="location", value="/etc/passwd")
    return with_initialiser(tensor)


def _external_in_a_node() -> bytes:
    made = honest()
    made.graph.node.append(node("Constant", [], ["c"], value=_external(location="/etc/passwd")))
    return made.SerializeToString()


def _sparse() -> bytes:
    made = honest()
    values = helper.make_tensor("v", FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [2**40])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**41]))
    return made.SerializeToString()


def _claims(*dims: int, kind: int = FLOAT, **data: object) -> bytes:
    return with_initialiser(TensorProto(name="w", data_type=kind, dims=dims, **data))


def _elsewhere(name: str, **entries: str) -> Attack:
    return Attack(name, "external data", model=lambda: with_initialiser(_external(**entries)))


WEIGHTS = (
    _elsewhere("weights at an absolute path", location="/etc/passwd"),
    _elsewhere("weights above the folder", location="../../keys/signing.key"),
    _elsewhere("weights in a file beside it", location="card.json"),
    _elsewhere("weights in a device", location="/dev/zero", length=str(2**40)),
    _elsewhere("weights of any attribute", location="x", __class__="y", basepath="/"),
    _elsewhere(
        "weights at an address in memory",
        location="*/_ORT_MEM_ADDR_/*",
        offset=str(0x7F0000000000),
        length="4096",
    ),
    Attack("weights elsewhere, said to be here", "external data", model=_external_by_default),
    Attack("weights elsewhere, in a node", "external data", model=_external_in_a_node),
    Attack("sparse weights of terabytes", "sparse weights", model=_sparse),
    Attack(
        "weights that are strings",
        "unusual type",
        model=lambda: _claims(1, kind=TensorProto.STRING, string_data=[b"x"]),
    ),
    Attack(
        "weights of a type that does not exist", "unusual type", model=lambda: _claims(1, kind=99)
    ),
    Attack("a weight of terabytes", "impossible size", model=lambda: _claims(2**20, 2**20, 2**20)),
    Attack("a weight of negative size", "impossible size", model=lambda: _claims(-1, -4)),
    Attack("a weight of no rows and 2^62 columns", "impossible", model=lambda: _claims(0, 2**62)),
    Attack("a weight without its data", "disagree", model=lambda: _claims(1000)),
    Attack(
        "a weight with more data than it says",
        "disagree",
        model=lambda: _claims(1, raw_data=bytes(4096)),
    ),
    Attack(
        "a weight with two sets of data",
        "disagree",
        model=lambda: _claims(1, raw_data=bytes(4), float_data=[1.0]),
    ),
    Attack(
        "a weight whose data are of another type",
        "disagree",
        model=lambda: _claims(1, int64_data=[1]),
    ),
    Attack(
        "more weights than the federation accepts",
        "64000001 weights",
        model=lambda: with_initialiser(constant("w", np.zeros(64_000_001, np.uint8))),
    ),
)
