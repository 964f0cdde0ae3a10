"""The Enrolment service: thin, for peers whose certificate is an invitation."""

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from coordinator.calls import Calls
from coordinator.enrolment import enrol
from coordinator.identity import verified_peer
from coordinator.statement_book import StatementBook
from coordinator.store import Store
from ff_protocol.certificates import Credential
from ff_protocol.clock import utc_now
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot
from ff_protocol.wire import relay_pb2, relay_pb2_grpc


class EnrolmentService(relay_pb2_grpc.EnrolmentServicer):
    """Answers invited sites."""

    def __init__(self, store: Store, trust: TrustRoot, issuing: Credential, calls: Calls) -> None:
        self._calls = calls
        self._store = store
        self._trust = trust
        self._issuing = issuing
        self._book = StatementBook(store, trust)

    def Enrol(  # noqa: N802
        self, request: relay_pb2.EnrolRequest, context: grpc.ServicerContext
    ) -> relay_pb2.EnrolResponse:
        """Exchange an invitation for certificates."""
        with self._calls.answering(context, "Enrol") as record:
            peer = record.caller(
                verified_peer(context, self._trust, Role.INVITATION, self._issuing.chain)
            )
            spec_envelope = self._book.spec()[0]
            certificates = enrol(
                self._store,
                self._issuing,
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
