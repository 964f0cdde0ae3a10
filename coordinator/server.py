"""The gRPC server: mTLS, bounded workers, health, and a graceful end.

A server holds nothing that another one over the same store lacks: any number may run, and any may
be killed at any time.
"""

import logging
import queue
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import ff_protocol.tls as tls  # before grpc: it sets what gRPC reads once
from coordinator.addresses import split_endpoint
from coordinator.authority import ensure_spec, renew_authority_certificate
from coordinator.calls import Calls, Limits
from coordinator.enrolment_service import EnrolmentService
from coordinator.errors import ListenError
from coordinator.folder_store import FolderStore
from coordinator.home import CoordinatorHome
from coordinator.keyring import Keyring
from coordinator.member_list import keep_signed
from coordinator.membership import Membership
from coordinator.memory import return_memory_of_chunks
from coordinator.metered_store import MeteredStore
from coordinator.metrics import Metrics
from coordinator.relay_service import RelayService
from coordinator.resources import connections_allowed
from coordinator.server_certificate import ServerCertificate
from coordinator.store import Store, open_store
from coordinator.store_format import check_store
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.wire import relay_pb2, relay_pb2_grpc

LOG = logging.getLogger("coordinator.server")
WORKERS = 512
"""Threads at most, made as they are needed. A call beyond them is refused, not queued unseen."""
STREAMS_PER_CONNECTION = 32
GRACE_SECONDS = 30.0
FLUSH_SECONDS = 2.0
HOUSEKEEPING_SECONDS = 600.0
SERVICES = tuple(
    relay_pb2.DESCRIPTOR.services_by_name[name].full_name for name in ("Relay", "Enrolment")
)


class Server:
    """A server of one home, bound to an address."""

    def __init__(
        self,
        home: CoordinatorHome,
        listen: str,
        *,
        limits: Limits | None = None,
        store: Store | None = None,
    ) -> None:
        """Bind.

        Args:
            home: with its keys.
            listen: `HOST:PORT`; port 0 takes a free one.
            limits: what is answered at once.
            store: instead of the one that the home names.

        Raises:
            NotReadyError: the home is incomplete.
            ListenError: the address is taken or not ours.
        """
        return_memory_of_chunks()
        self._inner_store = store or open_store(home)
        check_store(self._inner_store)
        ensure_spec(home, self._inner_store)
        self.metrics = Metrics()
        metered = MeteredStore(self._inner_store, self.metrics)
        self._home = home
        self._keyring = Keyring(home, metered, utc_now())
        self._membership = Membership(metered)
        limits = limits or Limits()
        self._calls = Calls(self.metrics, self._membership, limits)
        self._certificate = ServerCertificate(home, self.metrics)
        self._health = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, thread_name_prefix="call"),
            options=(
                *tls.SERVER_OPTIONS,
                ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
                ("grpc.max_allowed_incoming_connections", connections_allowed()),
            ),
            maximum_concurrent_rpcs=WORKERS,
        )
        self._relay = RelayService(metered, self._keyring, self._calls, limits.quotas)
        relay_pb2_grpc.add_RelayServicer_to_server(self._relay, self._server)
        relay_pb2_grpc.add_EnrolmentServicer_to_server(
            EnrolmentService(metered, self._keyring, self._calls), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._probes: grpc.Server | None = None
        self.endpoint = _bind(listen, "--listen", self._add_port)

    def serve_health(self, listen: str) -> str:
        """Answer gRPC health at `HOST:PORT`, and nothing else, without TLS; return the address.

        For probes that have no certificate of the federation (Kubernetes).

        Raises:
            UsageError: not an address.
            ListenError: it is taken or not ours.
        """
        self._probes = grpc.server(ThreadPoolExecutor(2, thread_name_prefix="probe"))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probes)
        at = _bind(listen, "--health", self._probes.add_insecure_port)
        self._probes.start()
        return at

    def serve(self, started: Callable[[str], None], grace: float = GRACE_SECONDS) -> None:
        """Serve until SIGTERM or SIGINT, then drain. SIGHUP reloads the certificate.

        Args:
            started: called with the endpoint once calls are accepted.
            grace: seconds that running calls have when the server is told to stop.
        """
        # An Event may not be set in a handler: its lock may be held by the code interrupted.
        signals: queue.SimpleQueue[int] = queue.SimpleQueue()

        def on_signal(signum: int, frame: FrameType | None) -> None:
            signals.put(signum)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, on_signal)
        self.start()
        started(self.endpoint)
        while (received := _next_signal(signals)) in (None, signal.SIGHUP):
            if received is None:
                self._keep_house()
            else:
                self.reload()
        LOG.info("draining")
        finished = self.stop(grace)
        LOG.info("stopped" if finished else "stopped: calls still ran at the end of the grace")

    def start(self) -> None:
        """Accept calls."""
        self._server.start()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        self._keep_house()

    def stop(self, grace: float) -> bool:
        """Refuse new calls, let running ones end within `grace` seconds; True if they did.

        Whoever watches the health is told NOT_SERVING. The port closes at once, so that a load
        balancer turns elsewhere; clients are told to go (GOAWAY) and keep what is running.
        """
        self.metrics.draining.set(1)
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.stop(grace + FLUSH_SECONDS)
        finished = self._calls.drain(grace)
        # A call has ended for us before its last bytes have left; and lasting calls remain.
        self._server.stop(min(grace, FLUSH_SECONDS)).wait()
        self._calls.close()
        if self._probes is not None:
            self._probes.stop(None)
        return finished

    def reload(self) -> None:
        """Take a new certificate from the disk, and ask the store anew for roots and expulsions."""
        self._follow_roots()
        self._certificate.reload()
        self._membership.forget()
        LOG.info("reloaded")

    def _keep_house(self) -> None:
        self._follow_roots()
        self._certificate.renew()
        self._certificate.reload()
        try:
            check_store(self._inner_store)
        except FederatedFactoryError as error:
            LOG.error("this program is too old for the store", extra={"reason": error.message})
        try:
            renew_authority_certificate(self._home, utc_now())
            keep_signed(self._home, self._inner_store, utc_now())
        except FederatedFactoryError as error:
            LOG.warning("the member list is not signed anew", extra={"reason": error.message})
        try:
            if listed := self._relay.keep_house():
                LOG.info("%d statements were not in the feed", listed)
        except FederatedFactoryError as error:
            LOG.warning("the feed is not brought up to date", extra={"reason": error.message})
        if isinstance(self._inner_store, FolderStore):
            self._inner_store.remove_abandoned()

    def _follow_roots(self) -> None:
        try:
            if self._keyring.follow(utc_now()):
                LOG.info("the federation's roots have changed")
        except FederatedFactoryError as error:
            LOG.warning("a change of root is not followed", extra={"reason": error.message})

    def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for service in ("", *SERVICES):
            self._health.set(service, status)

    def _add_port(self, listen: str) -> int:
        port: int = self._server.add_secure_port(listen, self._certificate.credentials())
        return port


def _bind(listen: str, option: str, add_port: Callable[[str], int]) -> str:
    """Bind with `add_port`; return the address, with the port that was taken."""
    host, _ = split_endpoint(listen)
    try:
        port = add_port(listen)
    except RuntimeError as error:
        raise ListenError(
            f"cannot listen on {listen}: the address is in use, not ours, or not permitted",
            hint=f"choose another with {option} HOST:PORT (port 0 takes a free one)",
        ) from error
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _next_signal(signals: "queue.SimpleQueue[int]") -> int | None:
    """Return the next signal, None when it is time to keep house."""
    try:
        return signals.get(timeout=HOUSEKEEPING_SECONDS)
    except queue.Empty:
        return None
