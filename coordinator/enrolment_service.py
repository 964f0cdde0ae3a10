"""The Enrolment service: thin, for peers whose certificate is an invitation."""

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from coordinator.calls import Calls
from coordinator.enrolment import enrol
from coordinator.identity import verified_peer
from coordinator.keyring import Keyring
from coordinator.statement_book import StatementBook
from coordinator.store import Store
from ff_protocol.clock import utc_now
from ff_protocol.names import Role
from ff_protocol.wire import relay_pb2, relay_pb2_grpc


class EnrolmentService(relay_pb2_grpc.EnrolmentServicer):
    """Answers invited sites."""

    def __init__(self, store: Store, keyring: Keyring, calls: Calls) -> None:
        self._calls = calls
        self._store = store
        self._keyring = keyring
        self._book = StatementBook(store, keyring.trust)

    def Enrol(  # noqa: N802
        self, request: relay_pb2.EnrolRequest, context: grpc.ServicerContext
    ) -> relay_pb2.EnrolResponse:
        """Exchange an invitation for certificates."""
        with self._calls.answering(context, "Enrol") as record:
            keyring = self._keyring
            peer = record.caller(
                verified_peer(context, keyring.trust, Role.INVITATION, keyring.issuing.chain)
            )
            spec_envelope = self._book.spec()[0]
            certificates = enrol(
                self._store,
                keyring.issuing,
                peer.identity,
                peer.certificate,
                (request.tls_request, request.signing_request),
                utc_now(),
            )
            return relay_pb2.EnrolResponse(
                tls_chain=certificates.tls,
                signing_chain=certificates.signing,
                spec_envelope=spec_envelope,
            )
