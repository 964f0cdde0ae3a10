"""Attacks on whoever parses `module.onnx`: not ONNX, not only ONNX, or small on disk only."""

from collections.abc import Callable

from ff_protocol.limits import MIB
from tests.hostile.attack import Attack
from tests.hostile.graphs import honest, honest_model

# Field numbers of onnx.proto, with wire type 2 (length and bytes).
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER, _NODE_ATTRIBUTE, _ATTRIBUTE_GRAPH = 7, 1, 5, 5, 6
_TENSOR_INT64_DATA, _TENSOR_DIMS = 7, 1


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    result = b""
    while number > 0x7F:
        result += bytes([number & 0x7F | 0x80])
        number >>= 7
    return result + bytes([number])


def _with_graph(content: bytes) -> Callable[[], bytes]:
    """The honest module's header with this as its graph."""

    def build() -> bytes:
        header = honest()
        header.ClearField("graph")
        return header.SerializeToString() + field(_MODEL_GRAPH, content)

    return build


def _nested(levels: int) -> bytes:
    content = b""
    for _ in range(levels):
        attribute = field(_ATTRIBUTE_GRAPH, content)
        content = field(_GRAPH_NODE, field(_NODE_ATTRIBUTE, attribute))
    return content


def _also_of_onnxruntime() -> bytes:
    """Valid ONNX whose bytes 4 to 7 say that it is an onnxruntime file."""
    made = honest()
    version = b"\x08" + bytes([made.ir_version])
    made.ClearField("ir_version")
    return version + field(2, b"ORTM") + made.SerializeToString()


def _with_two_graphs() -> bytes:
    """A reader that takes the first sees another module than one that merges."""
    return honest_model() + field(_MODEL_GRAPH, field(_GRAPH_NODE, b""))


BYTES_OF_THE_FILE = (
    Attack("an empty file but for its card", "file format 0", model=lambda: b"\x12\x00"),
    Attack("a web page", "of another type", model=lambda: b"<html>" + bytes(500)),
    Attack("a pickle", "not have", model=lambda: b"\x80\x04\x95" + bytes(99)),
    Attack("a file that was cut short", "cut off", model=lambda: honest_model()[:-7]),
    Attack("a file with something after it", "not have", model=lambda: honest_model() + b"\0" * 9),
    Attack("a file that is also of onnxruntime", "onnxruntime file", model=_also_of_onnxruntime),
    Attack("two graphs in one file", "graph is given twice", model=_with_two_graphs),
    Attack(
        "millions of empty nodes",
        "more than 500000 fields",
        model=_with_graph(field(_GRAPH_NODE, b"") * 8_000_000),
    ),
    Attack(
        "numbers of one byte that take eight",
        "beside raw weights",
        model=_with_graph(field(_GRAPH_INITIALIZER, field(_TENSOR_INT64_DATA, bytes(32 * MIB)))),
    ),
    Attack(
        "a weight of a million dimensions",
        "more than 500000 fields",
        model=_with_graph(field(_GRAPH_INITIALIZER, b"\x08\x01" * 1_000_000)),
    ),
    Attack("a graph in a graph in a graph", "nested deeper", model=_with_graph(_nested(500))),
    Attack(
        "data in a field that ONNX does not have",
        "a field that ONNX does not have",
        model=lambda: honest_model() + field(500, bytes(MIB)),
    ),
    Attack(
        "a length beyond the end",
        "cut off",
        model=lambda: honest_model() + b"\x12\xff\xff\xff\xff\x7f",
    ),
    Attack("a number without an end", "ONNX file", model=lambda: honest_model() + b"\xff" * 50),
)
