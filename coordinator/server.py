"""The gRPC server: mTLS, bounded workers, health, and a graceful end.

A server holds nothing that another one over the same store lacks: any number may run, and any may
be killed at any time.
"""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import ff_protocol.tls as tls  # before grpc: it sets what gRPC reads once
from coordinator.addresses import split_endpoint
from coordinator.authority import ensure_spec, renew_server_certificate
from coordinator.enrolment_service import EnrolmentService
from coordinator.errors import ListenError
from coordinator.home import CoordinatorHome
from coordinator.memory import return_memory_of_chunks
from coordinator.relay_service import RelayService
from coordinator.store import open_store
from ff_protocol.certificates import chain_to_pem, key_to_pem
from ff_protocol.clock import utc_now
from ff_protocol.wire import relay_pb2_grpc

LOG = logging.getLogger("coordinator.server")
WORKERS = 16
MAX_WAITING_CALLS = 256
GRACE_SECONDS = 10.0


class Server:
    """A server of one home, bound to an address."""

    def __init__(self, home: CoordinatorHome, listen: str) -> None:
        """Bind.

        Args:
            home: with its keys.
            listen: `HOST:PORT`; port 0 takes a free one.

        Raises:
            NotReadyError: the home is incomplete.
            ListenError: the address is taken or not ours.
        """
        return_memory_of_chunks()
        store = open_store(home)
        ensure_spec(home, store)
        trust, issuing = home.trust(), home.credential("issuing")
        self._health = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, thread_name_prefix="call"),
            options=tls.SERVER_OPTIONS,
            maximum_concurrent_rpcs=MAX_WAITING_CALLS,
        )
        relay_pb2_grpc.add_RelayServicer_to_server(
            RelayService(store, trust, issuing.chain), self._server
        )
        relay_pb2_grpc.add_EnrolmentServicer_to_server(
            EnrolmentService(store, trust, issuing), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.endpoint = self._bind(home, listen)

    def serve(self, started: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT, then let running calls end within the grace.

        Args:
            started: called with the endpoint once calls are accepted.
        """
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        self.start()
        started(self.endpoint)
        stopping.wait()
        LOG.info("draining")
        self.stop(GRACE_SECONDS)
        LOG.info("stopped")

    def start(self) -> None:
        """Accept calls."""
        self._server.start()
        self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace: float) -> None:
        """Accept no more calls; end those that run after `grace` seconds."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()

    def _bind(self, home: CoordinatorHome, listen: str) -> str:
        host, _ = split_endpoint(listen)
        own = renew_server_certificate(home, utc_now())
        credentials = grpc.ssl_server_credentials(
            [(key_to_pem(own.key), chain_to_pem(own.chain))],
            root_certificates=chain_to_pem((home.trust().certificate,)),
            require_client_auth=True,
        )
        try:
            port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise ListenError(
                f"cannot listen on {listen}: the address is in use, not ours, or not permitted",
                hint="choose another with --listen HOST:PORT (port 0 takes a free one)",
            ) from error
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
