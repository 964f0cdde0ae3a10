"""Attacks by work: graphs that keep every rule and take time or memory without end when run."""

import numpy as np
from onnx import TensorProto

from tests.hostile.attack import Attack
from tests.hostile.graphs import adding, constant, looping, model, node

_ANY = ["a", "b", "c", "d"]
_LITTLE = constant("little", np.ones((1, 1, 1, 1), np.float32))


def _shape(*sizes: int) -> TensorProto:
    return constant("shape", np.int64(sizes))


def _gigabytes() -> bytes:
    return adding([node("ConstantOfShape", ["shape"], ["extra"])], _shape(2**18, 2**18))


def _gigabytes_only_when_run() -> bytes:
    """The size depends on the batch, so that nothing is known when the module is loaded."""
    return adding(
        [
            node("Shape", ["noise"], ["own"]),
            node("Mul", ["own", "factor"], ["shape"]),
            node("ConstantOfShape", ["shape"], ["extra"]),
        ],
        constant("factor", np.int64([1, 1024, 128, 128])),
    )


def _expand() -> bytes:
    return adding(
        [node("Expand", ["little", "shape"], ["extra"])], _LITTLE, _shape(1, 1, 2**17, 2**17)
    )


def _range() -> bytes:
    numbers = [
        constant(name, np.float32(end)) for name, end in zip("abc", (0, 1e11, 1), strict=True)
    ]
    return adding([node("Range", ["a", "b", "c"], ["extra"])], *numbers)


def _pad() -> bytes:
    pads = constant("pads", np.int64([0, 0, 2**17, 2**17, 0, 0, 2**17, 2**17]))
    return adding([node("Pad", ["noise", "pads"], ["extra"])], pads)


def _resize() -> bytes:
    scales = constant("scales", np.float32([1, 1, 20_000, 20_000]))
    return adding([node("Resize", ["noise", "", "scales"], ["extra"], mode="nearest")], scales)


def _transposed_convolution() -> bytes:
    attributes = {"strides": [30_000, 30_000], "kernel_shape": [1, 1]}
    return adding([node("ConvTranspose", ["noise", "little"], ["extra"], **attributes)], _LITTLE)


def _outer_product() -> bytes:
    long = 2**20
    return adding(
        [
            node("Expand", ["little", "tall"], ["column"]),
            node("Expand", ["little", "wide"], ["row"]),
            node("MatMul", ["column", "row"], ["extra"]),
        ],
        _LITTLE,
        constant("tall", np.int64([1, 1, long, 1])),
        constant("wide", np.int64([1, 1, 1, long])),
    )


def _doubling(operator: str) -> bytes:
    """Twice the size at every turn: 2^256 at the end."""
    if operator == "Concat":
        return looping([node("Concat", ["x", "x"], ["y"], axis=2)], shape=_ANY)
    if operator == "Resize":
        scales = constant("scales", np.float32([1, 1, 2, 2]))
        return looping([node("Resize", ["x", "", "scales"], ["y"])], scales, shape=_ANY)
    return looping(
        [
            node("Shape", ["x"], ["s"]),
            node("Mul", ["s", "two"], ["t"]),
            node("ReduceMean", ["x"], ["mean"], keepdims=1),
            node("Expand", ["mean", "t"], ["y"]),
        ],
        constant("two", np.int64([1, 1, 2, 2])),
        shape=_ANY,
    )


def _kept_at_every_turn() -> bytes:
    """The loop keeps 16 MiB a turn."""
    size = [1, 1, 2048, 2048]
    return looping(
        [node("Sin", ["x"], ["y"])],
        before=[node("ConstantOfShape", ["shape"], ["first"])],
        beside=[_shape(*size)],
        start="first",
        shape=size,
        scans=True,
    )


def _computing() -> bytes:
    """256 products of matrices of 2048 x 2048: hours in few bytes."""
    size = (2048, 2048)
    return looping(
        [node("MatMul", ["x", "x"], ["product"]), node("Sin", ["product"], ["y"])],
        before=[
            node("ReduceMean", ["noise"], ["level"], keepdims=0),
            node("Expand", ["level", "shape"], ["first"]),
        ],
        beside=[_shape(*size)],
        start="first",
        shape=size,
    )


def _computing_while_loaded() -> bytes:
    """The same out of constants alone, which the runtime computes when it loads the file."""
    nodes = [node("ConstantOfShape", ["shape"], ["c0"])]
    for number in range(1, 200):
        nodes.append(node("MatMul", [f"c{number - 1}", "c0"], [f"c{number}"]))
    nodes.append(node("Identity", ["c199"], ["extra"]))
    return adding(nodes, _shape(3000, 3000))


def _reshaped(to: list[int]) -> bytes:
    return model(
        [node("Reshape", ["noise", "shape"], ["turned"]), node("Sigmoid", ["turned"], ["image"])],
        [_shape(*to)],
    ).SerializeToString()


def _other_type() -> bytes:
    return model([node("Cast", ["noise"], ["image"], to=TensorProto.FLOAT16)]).SerializeToString()


def _failing() -> bytes:
    return adding(
        [
            node("Cast", ["noise"], ["whole"], to=TensorProto.INT64),
            node("Add", ["whole", "far"], ["index"]),
            node("Gather", ["noise", "index"], ["extra"]),
        ],
        constant("far", np.int64(10**12)),
    )


def _chain(length: int) -> bytes:
    """As deep as the rules allow, for whatever recurses over a graph."""
    nodes = [node("Sin", ["noise"], ["v0"])]
    nodes += [node("Sin", [f"v{number}"], [f"v{number + 1}"]) for number in range(length)]
    nodes.append(node("Sub", [f"v{length}", f"v{length}"], ["image"]))
    return model(nodes).SerializeToString()


_MEMORY = "needed more memory than"
_TIME = "took longer than"

WORK = (
    Attack("gigabytes of a constant", _MEMORY, _gigabytes),
    Attack("gigabytes of a constant when run", _MEMORY, _gigabytes_only_when_run),
    Attack("a number expanded to gigabytes", _MEMORY, _expand),
    Attack("a range of gigabytes", _MEMORY, _range),
    Attack("a border of gigabytes", _MEMORY, _pad),
    Attack("an image resized to gigabytes", _MEMORY, _resize),
    Attack("a transposed convolution to gigabytes", _MEMORY, _transposed_convolution),
    Attack("an outer product of terabytes", _MEMORY, _outer_product),
    Attack("doubling by Concat", _MEMORY, lambda: _doubling("Concat")),
    Attack("doubling by Resize", _MEMORY, lambda: _doubling("Resize")),
    Attack("doubling by Expand", _MEMORY, lambda: _doubling("Expand")),
    Attack("16 MiB kept at every turn", _MEMORY, _kept_at_every_turn),
    Attack("hours of computing", _TIME, _computing),
    Attack("minutes of computing while it is loaded", _TIME, _computing_while_loaded),
    Attack("images of another shape", "returned something else", lambda: _reshaped([-1, 1, 4, 16])),
    Attack("fewer images than noise", "returned something else", lambda: _reshaped([1, 1, 8, -1])),
    Attack("images of another type", "cannot load", _other_type),
    Attack("an index beyond the end", "fails when run", _failing),
    Attack("a chain of 19,990 nodes", "its images are constant", lambda: _chain(19_980)),
)
