"""Bounding a foreign ONNX file as bytes, before a parser allocates anything for it.

Protocol buffers turn two bytes into an object of a hundred, merge what is given twice and keep what
they do not know. Walked by ONNX's own schema, a file shows its fields, depth and small data without
being parsed; nothing of it is copied.
"""

import functools
from typing import TYPE_CHECKING, Any

from client_agent.errors import RefusedError
from ff_protocol.limits import MIB

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

MAX_FIELDS = 500_000
MAX_DEPTH = 40
MAX_SMALL_BYTES = 8 * MIB
"""All names, attributes and typed numbers together; weights belong into `raw_data`."""

_BULK = "raw_data"
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_ORT_IDENTIFIER = b"ORTM"


def check_wire_format(data: bytes) -> None:
    """Check the file's fields against the ONNX schema.

    Raises:
        RefusedError: another format, too many fields, too deep, too much small data, an unknown
            field, one of another type, or one given twice that may be there once.
    """
    import onnx

    # onnxruntime takes a file with this mark for its own format, whatever else it is.
    if data[4:8] == _ORT_IDENTIFIER:
        raise RefusedError("module.onnx: is an onnxruntime file, not an ONNX file")
    _Walk(data).message(0, len(data), _fields(onnx.ModelProto.DESCRIPTOR), 0)


class _Walk:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._fields = 0
        self._small_bytes = 0

    def message(self, position: int, end: int, known: dict[int, Any], depth: int) -> None:
        """Walk one message between two offsets."""
        if depth > MAX_DEPTH:
            raise RefusedError(f"module.onnx: nested deeper than {MAX_DEPTH} messages")
        seen = set()
        while position < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise RefusedError(f"module.onnx: more than {MAX_FIELDS} fields")
            tag, position = self._varint(position, end)
            field = known.get(tag >> 3)
            if field is None:
                raise RefusedError("module.onnx: has a field that ONNX does not have")
            if not field.is_repeated:
                if tag >> 3 in seen:
                    raise RefusedError(f"module.onnx: {field.name} is given twice")
                seen.add(tag >> 3)
            position = self._value(position, end, tag & 7, field, depth)

    def _value(self, position: int, end: int, wire_type: int, field: Any, depth: int) -> int:
        """Walk one field's value; return where the next field begins."""
        if wire_type != _LENGTH:
            if wire_type != field.scalar:
                raise RefusedError(f"module.onnx: {field.name} is of another type")
            if wire_type == _VARINT:
                return self._varint(position, end)[1]
            return self._within(position + (8 if wire_type == _FIXED64 else 4), end)
        size, position = self._varint(position, end)
        after = self._within(position + size, end)
        if field.message is not None:
            self.message(position, after, _fields(field.message), depth + 1)
        elif field.name != _BULK:
            self._small_bytes += size
            if self._small_bytes > MAX_SMALL_BYTES:
                raise RefusedError(
                    f"module.onnx: more than {MAX_SMALL_BYTES // MIB} MiB beside raw weights"
                )
        return after

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            self._within(position + 1, end)
            byte = self._data[position]
            value |= (byte & 0x7F) << shift
            position += 1
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise RefusedError("module.onnx: not an ONNX file")

    @staticmethod
    def _within(position: int, end: int) -> int:
        if position > end:
            raise RefusedError("module.onnx: cut off, or not an ONNX file")
        return position


class _Field:
    """What the walk needs of a field: its name, whether it repeats, and its value's form."""

    def __init__(self, field: Any) -> None:
        self.name: str = field.name
        self.is_repeated: bool = field.is_repeated
        self.message: Descriptor | None = field.message_type
        kind = field.type
        if kind in (field.TYPE_MESSAGE, field.TYPE_STRING, field.TYPE_BYTES):
            self.scalar = None
        elif kind in (field.TYPE_DOUBLE, field.TYPE_FIXED64, field.TYPE_SFIXED64):
            self.scalar = _FIXED64
        elif kind in (field.TYPE_FLOAT, field.TYPE_FIXED32, field.TYPE_SFIXED32):
            self.scalar = _FIXED32
        else:
            self.scalar = _VARINT


@functools.cache
def _fields(message: "Descriptor") -> dict[int, _Field]:
    """A message's fields by number."""
    return {number: _Field(field) for number, field in message.fields_by_number.items()}
