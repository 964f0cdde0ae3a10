"""How both sides of the wire set up gRPC: TLS 1.3 only, no proxy, small messages, keepalive.

gRPC for Python has no switch for the lowest TLS version. Its environment variable for cipher
suites governs TLS 1.2 only (those of TLS 1.3 are fixed in BoringSSL), so it is set to a suite that
needs an RSA certificate: all certificates here are ECDSA, hence no TLS 1.2 handshake can succeed.
gRPC reads the variable once: import this module before anything that imports grpc.
"""

import os

from ff_protocol.limits import CHUNK_BYTES, KIB

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"
# gRPC's own log lines would break "one clear line" on a terminal and JSON lines in a log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

MAX_MESSAGE_BYTES = CHUNK_BYTES + 64 * KIB
"""A chunk or an envelope with what surrounds it."""

COMMON_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * KIB),
    # Without it a header between the two limits is refused at random.
    ("grpc.absolute_max_metadata_size", 16 * KIB),
    # A ping waits behind what is in the buffers: at 2 Mbit/s a few MiB take half a minute.
    ("grpc.keepalive_timeout_ms", 60_000),
)
"""Options of clients and servers alike."""

CLIENT_OPTIONS: tuple[tuple[str, int | str], ...] = (
    *COMMON_OPTIONS,
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Retries are made by the caller, which knows what has been acknowledged.
    ("grpc.enable_retries", 0),
)

SERVER_OPTIONS: tuple[tuple[str, int | str], ...] = (
    *COMMON_OPTIONS,
    ("grpc.keepalive_time_ms", 60_000),
    # Who connects and says nothing holds its place for so long (the default is two minutes).
    ("grpc.server_handshake_timeout_ms", 15_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    # Two servers on one port would each get a part of the calls unnoticed.
    ("grpc.so_reuseport", 0),
)
