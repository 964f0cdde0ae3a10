from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GetFederationRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetFederationResponse(_message.Message):
    __slots__ = ("spec_envelope", "server_time", "protocol_version")
    SPEC_ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    spec_envelope: bytes
    server_time: int
    protocol_version: int
    def __init__(self, spec_envelope: _Optional[bytes] = ..., server_time: _Optional[int] = ..., protocol_version: _Optional[int] = ...) -> None: ...

class FindMissingChunksRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, sha256: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FindMissingChunksResponse(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, sha256: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("sha256", "data")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    data: bytes
    def __init__(self, sha256: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...

class ChunkAcknowledgement(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    def __init__(self, sha256: _Optional[bytes] = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ("envelope",)
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    def __init__(self, envelope: _Optional[bytes] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ("already_there",)
    ALREADY_THERE_FIELD_NUMBER: _ClassVar[int]
    already_there: bool
    def __init__(self, already_there: _Optional[bool] = ...) -> None: ...

class ListStatementsRequest(_message.Message):
    __slots__ = ("known", "position", "some_heads", "heads_of")
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SOME_HEADS_FIELD_NUMBER: _ClassVar[int]
    HEADS_OF_FIELD_NUMBER: _ClassVar[int]
    known: _containers.RepeatedScalarFieldContainer[bytes]
    position: bytes
    some_heads: bool
    heads_of: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, known: _Optional[_Iterable[bytes]] = ..., position: _Optional[bytes] = ..., some_heads: _Optional[bool] = ..., heads_of: _Optional[_Iterable[str]] = ...) -> None: ...

class SignedStatement(_message.Message):
    __slots__ = ("envelope", "position")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    position: bytes
    def __init__(self, envelope: _Optional[bytes] = ..., position: _Optional[bytes] = ...) -> None: ...

class GetChunksRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, sha256: _Optional[_Iterable[bytes]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class News(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: bytes
    def __init__(self, head: _Optional[bytes] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("tls_request", "signing_request", "signing_voucher")
    TLS_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNING_VOUCHER_FIELD_NUMBER: _ClassVar[int]
    tls_request: bytes
    signing_request: bytes
    signing_voucher: bytes
    def __init__(self, tls_request: _Optional[bytes] = ..., signing_request: _Optional[bytes] = ..., signing_voucher: _Optional[bytes] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("tls_chain", "signing_chain")
    TLS_CHAIN_FIELD_NUMBER: _ClassVar[int]
    SIGNING_CHAIN_FIELD_NUMBER: _ClassVar[int]
    tls_chain: bytes
    signing_chain: bytes
    def __init__(self, tls_chain: _Optional[bytes] = ..., signing_chain: _Optional[bytes] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("tls_request", "signing_request")
    TLS_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    tls_request: bytes
    signing_request: bytes
    def __init__(self, tls_request: _Optional[bytes] = ..., signing_request: _Optional[bytes] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("tls_chain", "signing_chain", "spec_envelope")
    TLS_CHAIN_FIELD_NUMBER: _ClassVar[int]
    SIGNING_CHAIN_FIELD_NUMBER: _ClassVar[int]
    SPEC_ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    tls_chain: bytes
    signing_chain: bytes
    spec_envelope: bytes
    def __init__(self, tls_chain: _Optional[bytes] = ..., signing_chain: _Optional[bytes] = ..., spec_envelope: _Optional[bytes] = ...) -> None: ...
