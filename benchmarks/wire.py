"""What the relay's speed is put in proportion to: bytes over gRPC and over a TLS socket, no more.

Both use the federation's certificates, both sides authenticated, TLS 1.3, and messages of one
chunk; nothing is hashed, stored or acknowledged. Each server is a process of its own:

    python -m benchmarks.wire grpc|tls FOLDER

prints its port; FOLDER holds root.pem, server.pem and server.key.
"""

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

import ff_protocol.tls as tls
from ff_protocol.limits import CHUNK_BYTES

_UP, _DOWN = "/bare/Up", "/bare/Down"
_PIECE = bytes(range(256)) * (CHUNK_BYTES // 256)


def _handlers() -> grpc.GenericRpcHandler:
    def up(pieces: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return str(sum(map(len, pieces))).encode()

    def down(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield _PIECE

    return grpc.method_handlers_generic_handler(
        "bare",
        {
            "Up": grpc.stream_unary_rpc_method_handler(up),
            "Down": grpc.unary_stream_rpc_method_handler(down),
        },
    )


def serve_grpc(folder: Path) -> None:
    """Serve the bare byte stream until terminated."""
    server = grpc.server(ThreadPoolExecutor(4), options=tls.SERVER_OPTIONS)
    server.add_generic_rpc_handlers((_handlers(),))
    credentials = grpc.ssl_server_credentials(
        [((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())],
        root_certificates=(folder / "root.pem").read_bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(json.dumps(port), flush=True)
    signal.pause()


def serve_tls(folder: Path) -> None:
    """Serve plain TLS: a letter for the direction, eight bytes for the number of pieces."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "root.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps(listener.getsockname()[1]), flush=True)
    while True:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as secured:
            order = secured.recv(9)
            pieces = int.from_bytes(order[1:], "big")
            if order[:1] == b"u":
                _swallow(secured, pieces)
                secured.sendall(b".")
            else:
                for _ in range(pieces):
                    secured.sendall(_PIECE)


def _swallow(secured: ssl.SSLSocket, pieces: int) -> None:
    buffer, left = bytearray(CHUNK_BYTES), pieces * CHUNK_BYTES
    while left:
        left -= secured.recv_into(buffer)


@contextlib.contextmanager
def running(kind: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Start a server; yield its port and its process id."""
    command = [sys.executable, "-m", "benchmarks.wire", kind, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


def copy_over_grpc(port: int, folder: Path, pieces: int, *, up: bool) -> None:
    """Send or fetch `pieces` messages of one chunk as a bare stream."""
    credentials = grpc.ssl_channel_credentials(
        (folder / "root.pem").read_bytes(),
        (folder / "tls.key").read_bytes(),
        (folder / "tls.pem").read_bytes(),
    )
    with grpc.secure_channel(
        f"127.0.0.1:{port}", credentials, options=tls.CLIENT_OPTIONS
    ) as channel:
        grpc.channel_ready_future(channel).result(10)
        if up:
            answer = channel.stream_unary(_UP)(iter([_PIECE] * pieces))
            assert int(answer) == pieces * CHUNK_BYTES
        else:
            got = sum(map(len, channel.unary_stream(_DOWN)(str(pieces).encode())))
            assert got == pieces * CHUNK_BYTES


def copy_over_tls(port: int, folder: Path, pieces: int, *, up: bool) -> None:
    """Send or fetch the same number of bytes over a TLS socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    context.load_verify_locations(folder / "root.pem")
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall((b"u" if up else b"d") + pieces.to_bytes(8, "big"))
        if up:
            for _ in range(pieces):
                secured.sendall(_PIECE)
            assert secured.recv(1) == b"."
        else:
            _swallow(secured, pieces)


if __name__ == "__main__":
    {"grpc": serve_grpc, "tls": serve_tls}[sys.argv[1]](Path(sys.argv[2]))
