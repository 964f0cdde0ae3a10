"""The rules for a foreign module's constants: in the file, of a plain type, as large as said."""

from typing import TYPE_CHECKING

from client_agent.errors import RefusedError

if TYPE_CHECKING:
    import onnx

_MAX_ITEMS = 2**40

# By TensorProto.DataType: bytes an item, and the typed field that may hold it.
_TYPES = {
    1: (4, "float_data"),  # FLOAT
    2: (1, "int32_data"),  # UINT8
    3: (1, "int32_data"),  # INT8
    6: (4, "int32_data"),  # INT32
    7: (8, "int64_data"),  # INT64
    9: (1, "int32_data"),  # BOOL
    10: (2, "int32_data"),  # FLOAT16
}
_TYPED = (
    "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data",
)  # fmt: skip


def check_weights(graph: "onnx.GraphProto") -> int:
    """Check the constants of one graph; return how many numbers they hold.

    Raises:
        RefusedError: naming the first rule that does not hold.
    """
    if graph.sparse_initializer:
        raise RefusedError("module.onnx: sparse weights are not accepted")
    total = sum(_check_tensor(tensor) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.tensors or attribute.HasField("sparse_tensor"):
                raise RefusedError("module.onnx: lists of tensors or sparse ones are not accepted")
            if attribute.HasField("t"):
                total += _check_tensor(attribute.t)
    return total


def _check_tensor(tensor: "onnx.TensorProto") -> int:
    if tensor.data_location != tensor.DEFAULT or tensor.external_data:
        raise RefusedError("module.onnx: external data is not accepted")
    if tensor.data_type not in _TYPES or tensor.HasField("segment"):
        raise RefusedError("module.onnx: weights of an unusual type are not accepted")
    item_bytes, typed = _TYPES[tensor.data_type]
    count = 1
    for size in tensor.dims:
        if not 0 <= size <= _MAX_ITEMS or (count := count * size) > _MAX_ITEMS:
            raise RefusedError("module.onnx: a weight claims an impossible size")
    filled = [name for name in (*_TYPED, "raw_data") if getattr(tensor, name)]
    if filled == ["raw_data"]:
        fits = len(tensor.raw_data) == count * item_bytes
    elif filled == [typed]:
        fits = len(getattr(tensor, typed)) == count
    else:
        fits = not filled and count == 0
    if not fits:
        raise RefusedError("module.onnx: a weight's size and its data disagree")
    return count
