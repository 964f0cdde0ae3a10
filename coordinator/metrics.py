"""What a Prometheus server may ask: one registry a server, names and labels documented for users.

Labels come from closed sets only (methods, status codes, error identifiers), so that no peer can
make the number of series grow.
"""

import datetime as dt
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from coordinator.addresses import split_endpoint
from coordinator.errors import ListenError

_STORE_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
TRANSFERS = {"PutChunks": "received", "GetChunks": "sent"}
"""Methods that move chunks, and which way as the coordinator sees it."""


class Metrics:
    """The coordinator's figures."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self._calls = Counter(
            "ff_calls", "Calls by method and outcome.", ("method", "outcome"), registry=registry
        )
        self._transfers = Counter(
            "ff_transfers",
            "Streams of chunks that ended, by direction and outcome.",
            ("direction", "outcome"),
            registry=registry,
        )
        self._bytes = Counter(
            "ff_bytes", "Payload relayed, by direction.", ("direction",), registry=registry
        )
        self._errors = Counter(
            "ff_errors", "Calls that failed, by reason.", ("reason",), registry=registry
        )
        self.open_streams = Gauge(
            "ff_open_streams",
            "Calls being answered now, by method.",
            ("method",),
            registry=registry,
        )
        self.store_seconds = Histogram(
            "ff_store_seconds",
            "Time that the object store took, by operation.",
            ("operation",),
            buckets=_STORE_SECONDS,
            registry=registry,
        )
        self._expiry = Gauge(
            "ff_certificate_expiry_seconds",
            "When a certificate ends, in seconds since 1970.",
            ("certificate",),
            registry=registry,
        )
        self.draining = Gauge(
            "ff_draining", "1 while the server lets running calls end.", registry=registry
        )
        for direction in TRANSFERS.values():  # a series that is there from the start can be summed
            self._bytes.labels(direction)
        ProcessCollector(registry=registry)

    def call_ended(
        self, method: str, outcome: str, reason: str | None, received: int, sent: int
    ) -> None:
        """Count one call.

        Args:
            method: name of the gRPC method.
            outcome: gRPC status code, or what ended it.
            reason: error identifier, None after success.
            received, sent: payload in bytes.
        """
        self._calls.labels(method, outcome).inc()
        self._bytes.labels("received").inc(received)
        self._bytes.labels("sent").inc(sent)
        if method in TRANSFERS:
            self._transfers.labels(TRANSFERS[method], outcome).inc()
        if reason is not None:
            self._errors.labels(reason).inc()

    def certificates(self, ends: Iterable[tuple[str, dt.datetime]]) -> None:
        """Note until when each certificate is valid."""
        for name, end in ends:
            self._expiry.labels(name).set(end.timestamp())

    def serve(self, listen: str) -> str:
        """Answer `GET /metrics` at `HOST:PORT` in a thread of its own; return the address.

        There is neither TLS nor a password: loopback, or a network of the operator's own.

        Raises:
            UsageError: not an address.
            ListenError: it is taken or not ours.
        """
        host, port = split_endpoint(listen)
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            raise ListenError(
                f"cannot serve metrics on {listen}: {error.strerror}",
                hint="choose another with --metrics HOST:PORT (port 0 takes a free one)",
            ) from error
        port = server.server_port
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
