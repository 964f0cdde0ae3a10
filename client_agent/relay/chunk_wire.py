"""The two calls that carry chunks, without protobuf's copies of every megabyte.

A `Chunk` message is two length-delimited fields, sha256 (1) and data (2): encoding.html of the
protobuf documentation. Sending joins header and data once; receiving takes a view of the message
where it has the usual form, and leaves anything else to protobuf.
"""

from collections.abc import Callable
from typing import Any

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from ff_protocol.wire import relay_pb2

_DIGEST_FIELD = b"\x0a\x20"  # field 1, 32 bytes
_DATA_TAG = 0x12  # field 2
_DATA_AT = 2 + 32

PutChunks = Callable[..., Any]
GetChunks = Callable[..., Any]


def frame_chunk(digest: bytes, data: bytes) -> bytes:
    """Serialise a `Chunk`: what `Chunk(sha256=digest, data=data).SerializeToString()` returns."""
    return b"".join((_DIGEST_FIELD, digest, b"\x12", _varint(len(data)), data))


def chunk_data(message: bytes) -> "memoryview | bytes":
    """Return the `data` of a serialised `Chunk` from an untrusted party.

    Raises:
        google.protobuf.message.DecodeError: not a `Chunk`.
    """
    if message[:2] == _DIGEST_FIELD and len(message) > _DATA_AT and message[_DATA_AT] == _DATA_TAG:
        size = position = 0
        for shift in range(0, 28, 7):
            position = _DATA_AT + 1 + shift // 7
            if position >= len(message):
                break
            size |= (message[position] & 0x7F) << shift
            if message[position] < 0x80:
                if position + 1 + size == len(message):
                    return memoryview(message)[position + 1 :]
                break
    return bytes(relay_pb2.Chunk.FromString(message).data)


def put_chunks(channel: grpc.Channel) -> PutChunks:
    """Return the call PutChunks; it takes an iterator of `frame_chunk`'s bytes."""
    return channel.stream_stream(
        f"/{_SERVICE}/PutChunks",
        request_serializer=None,
        response_deserializer=relay_pb2.ChunkAcknowledgement.FromString,
    )


def get_chunks(channel: grpc.Channel) -> GetChunks:
    """Return the call GetChunks; it yields what `chunk_data` returns."""
    return channel.unary_stream(
        f"/{_SERVICE}/GetChunks",
        request_serializer=relay_pb2.GetChunksRequest.SerializeToString,
        response_deserializer=chunk_data,
    )


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SERVICE = relay_pb2.DESCRIPTOR.services_by_name["Relay"].full_name
