"""Attacks by what comes out: no images, or images of somebody else's class."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from tests.hostile.attack import Attack
from tests.hostile.graphs import constant, model, node


def _from_noise(*operators: str) -> bytes:
    names = ["noise", *(f"v{number}" for number in range(len(operators) - 1)), "image"]
    return model(
        [node(operator, [names[i]], [names[i + 1]]) for i, operator in enumerate(operators)]
    ).SerializeToString()


def _one_pixel(level: float) -> bytes:
    """Honest images but for one pixel of each."""
    spot = np.zeros((1, 1, 8, 8), np.bool_)
    spot[0, 0, 3, 3] = True
    return model(
        [
            node("Sigmoid", ["noise"], ["unit"]),
            node("Where", ["spot", "level", "unit"], ["image"]),
        ],
        [constant("spot", spot), constant("level", np.float32(level))],
    ).SerializeToString()


def _constant(images: NDArray[np.float32]) -> bytes:
    """The same image whatever the noise is."""
    return model(
        [node("Sub", ["noise", "noise"], ["nothing"]), node("Add", ["nothing", "w"], ["image"])],
        [constant("w", images)],
    ).SerializeToString()


def copied_images(images: NDArray[np.float32]) -> bytes:
    """A module that deals out stored images, say of another class, by what the noise sums up to.

    It passes every rule of structure and the first run; what finds it is a look at the images.

    Args:
        images: float32 [k, 1, 8, 8] in [0, 1].
    """
    return model(
        [
            node("ReduceSum", ["noise", "axes"], ["sum"], keepdims=0),
            node("Sigmoid", ["sum"], ["unit"]),
            node("Mul", ["unit", "many"], ["scaled"]),
            node("Cast", ["scaled"], ["whole"], to=TensorProto.INT64),
            node("Gather", ["stored", "whole"], ["image"], axis=0),
        ],
        [
            constant("axes", np.int64([1, 2, 3])),
            constant("many", np.float32(len(images) - 1e-3)),
            constant("stored", images),
        ],
    ).SerializeToString()


_RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)

OUTPUTS = (
    Attack("images of NaN", "not finite", lambda: _from_noise("Log", "Sigmoid")),
    Attack("images without bounds", "not finite", lambda: _from_noise("Abs", "Reciprocal", "Exp")),
    Attack("one pixel of NaN", "not finite", lambda: _one_pixel(float("nan"))),
    Attack("one pixel of infinity", "not finite", lambda: _one_pixel(float("inf"))),
    Attack("one pixel out of range", "leave the range", lambda: _one_pixel(1e30)),
    Attack("noise instead of images", "leave the range", lambda: _from_noise("Identity")),
    Attack("grey images", "constant", lambda: _constant(np.full((1, 1, 8, 8), 0.5, np.float32))),
    Attack("one image for all noise", "all alike", lambda: _constant(_RAMP)),
)
