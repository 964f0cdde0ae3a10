"""Chunks without protobuf's copies: the same bytes out, the same data in, whatever comes."""

import hashlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from client_agent.relay.chunk_wire import chunk_data, frame_chunk
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.wire import relay_pb2


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, CHUNK_BYTES - 1, CHUNK_BYTES])
def test_a_chunk_is_framed_as_protobuf_does_and_read_back(size):
    data = bytes(size)
    digest = hashlib.sha256(data).digest()
    message = frame_chunk(digest, data)
    assert message == relay_pb2.Chunk(sha256=digest, data=data).SerializeToString()
    read = chunk_data(message)
    assert isinstance(read, memoryview)  # no copy was made
    assert read == data


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_whatever_comes_is_read_as_protobuf_reads_it(message):
    try:
        expected = relay_pb2.Chunk.FromString(message).data
    except DecodeError:
        with pytest.raises(DecodeError):
            chunk_data(message)
    else:
        assert chunk_data(message) == expected


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=40))
def test_what_follows_the_usual_beginning_is_read_as_protobuf_reads_it(data, tail):
    message = frame_chunk(bytes(32), data) + tail
    try:
        expected = relay_pb2.Chunk.FromString(message).data
    except DecodeError:
        with pytest.raises(DecodeError):
            chunk_data(message)
    else:
        assert chunk_data(message) == expected
