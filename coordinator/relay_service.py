"""The Relay service: thin, stateless, for sites that have joined."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from coordinator import capabilities, member_list, root_changes, spec_book
from coordinator.calls import Calls
from coordinator.chunk_store import ChunkStore, check_digests
from coordinator.enrolment import renew
from coordinator.heads_book import HeadsBook
from coordinator.identity import Peer, verified_peer
from coordinator.keyring import Keyring
from coordinator.pipeline import Pipeline
from coordinator.quotas import IntakeQuota, ModuleQuota, Quotas
from coordinator.rules import check_speaker
from coordinator.slots import Slots
from coordinator.statement_book import StatementBook
from coordinator.store import Store
from coordinator.watching import WATCHERS, Doorbell
from ff_protocol import PROTOCOL_VERSION, dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.capabilities import CAPABILITIES
from ff_protocol.clock import utc_now
from ff_protocol.errors import MalformedError
from ff_protocol.heads import HEADS
from ff_protocol.intoto import predicate_type
from ff_protocol.limits import MAX_HEADS_ASKED
from ff_protocol.names import Role
from ff_protocol.renewals import check_vouched
from ff_protocol.statements import PUBLICATION, REVOCATION
from ff_protocol.wire import relay_pb2, relay_pb2_grpc

SLOTS = 16
"""Chunks that are read from the store at once, and chunks that are written to it."""


class RelayService(relay_pb2_grpc.RelayServicer):
    """Answers sites; every call verifies the peer's certificate."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        calls: Calls,
        quotas: Quotas,
    ) -> None:
        self._calls = calls
        self._store = store
        self._keyring = keyring
        self._slots = Slots(SLOTS)
        self._pipeline = Pipeline(SLOTS)
        self._chunks = ChunkStore(store)
        self._intake = IntakeQuota(store, quotas.day_bytes)
        self._book = StatementBook(store, keyring.trust, ModuleQuota(store, quotas))
        self._heads = HeadsBook(store)
        self._doorbell = Doorbell(store, self._book.feed)

    def GetFederation(  # noqa: N802
        self, request: relay_pb2.GetFederationRequest, context: grpc.ServicerContext
    ) -> relay_pb2.GetFederationResponse:
        """Return the signed federation spec and the server's clock."""
        with self._calls.answering(context, "GetFederation") as record:
            record.caller(self._peer(context))
            return relay_pb2.GetFederationResponse(
                spec_envelope=self._book.spec()[0],
                server_time=int(time.time()),
                protocol_version=PROTOCOL_VERSION,
            )

    def FindMissingChunks(  # noqa: N802
        self, request: relay_pb2.FindMissingChunksRequest, context: grpc.ServicerContext
    ) -> relay_pb2.FindMissingChunksResponse:
        """Return those of the chunks asked for that the store lacks."""
        with self._calls.answering(context, "FindMissingChunks") as record:
            record.caller(self._peer(context))
            digests = check_digests(request.sha256)
            return relay_pb2.FindMissingChunksResponse(sha256=self._chunks.missing(digests))

    def PutChunks(  # noqa: N802
        self, request_iterator: Iterator[relay_pb2.Chunk], context: grpc.ServicerContext
    ) -> Iterator[relay_pb2.ChunkAcknowledgement]:
        """Store chunks; acknowledge each as soon as it is durable."""
        with self._calls.answering(context, "PutChunks") as record:
            peer = record.caller(self._peer(context))
            store_chunk = partial(self._store_chunk, peer)
            for digest, size in self._pipeline.map(store_chunk, request_iterator):
                record.received += size
                yield relay_pb2.ChunkAcknowledgement(sha256=digest)

    def Publish(  # noqa: N802
        self, request: relay_pb2.PublishRequest, context: grpc.ServicerContext
    ) -> relay_pb2.PublishResponse:
        """Check a signed statement and make it visible."""
        with self._calls.answering(context, "Publish") as record:
            peer = record.caller(self._peer(context))
            record.received = len(request.envelope)
            already = self._publish(request.envelope, peer)
            self._doorbell.ring()
            return relay_pb2.PublishResponse(already_there=already)

    def ListStatements(  # noqa: N802
        self, request: relay_pb2.ListStatementsRequest, context: grpc.ServicerContext
    ) -> Iterator[relay_pb2.SignedStatement]:
        """Stream the statements that the caller does not know."""
        with self._calls.answering(context, "ListStatements") as record:
            record.caller(self._peer(context))
            known = {digest.hex() for digest in request.known}
            # Before anything is listed: what comes meanwhile is listed twice rather than never.
            position = self._book.feed.position()
            # Roots first: the rest may rest on them. Heads last: what they name has been sent
            # before, unless it is withheld.
            for envelope in chain(
                root_changes.unknown_to(self._store, known),
                spec_book.unknown_to(self._book.specs, known),
                member_list.unknown_to(self._store, known),
                self._new_statements(request, known),
                self._heads.unknown_to(known, _heads_wanted(request)),
            ):
                record.sent += len(envelope)
                yield relay_pb2.SignedStatement(envelope=envelope)
            if request.HasField("position"):
                yield relay_pb2.SignedStatement(position=position)

    def GetChunks(  # noqa: N802
        self, request: relay_pb2.GetChunksRequest, context: grpc.ServicerContext
    ) -> Iterator[relay_pb2.Chunk]:
        """Stream chunks in the order asked for; one is in memory at a time."""
        with self._calls.answering(context, "GetChunks") as record:
            record.caller(self._peer(context))
            for digest in check_digests(request.sha256):
                with self._slots:
                    chunk = relay_pb2.Chunk(sha256=digest, data=self._chunks.get(digest))
                record.sent += len(chunk.data)
                yield chunk

    def Watch(  # noqa: N802
        self, request: relay_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[relay_pb2.News]:
        """Ring at once and at every change, until the caller leaves."""
        with self._calls.answering(context, "Watch") as record:
            record.caller(self._peer(context))
            for head in self._doorbell.watch(context.is_active):
                yield relay_pb2.News(head=head)

    def Renew(  # noqa: N802
        self, request: relay_pb2.RenewRequest, context: grpc.ServicerContext
    ) -> relay_pb2.RenewResponse:
        """Issue the caller's next certificates."""
        with self._calls.answering(context, "Renew") as record:
            peer = record.caller(self._peer(context))
            requests = request.tls_request, request.signing_request
            if request.signing_request:
                check_vouched(
                    request.signing_voucher,
                    request.signing_request,
                    peer.identity,
                    self._keyring.trust,
                    at=utc_now(),
                )
            issued = renew(
                self._keyring.issuing, peer.identity, peer.certificate, requests, utc_now()
            )
            return relay_pb2.RenewResponse(tls_chain=issued.tls, signing_chain=issued.signing)

    def keep_house(self) -> int:
        """List what was published and not listed; return how many statements that were."""
        return self._book.feed.reconcile()

    # Calls that wait for hours must not take the threads of those that work.
    Watch.experimental_thread_pool = WATCHERS  # type: ignore[attr-defined]

    def _new_statements(
        self, request: relay_pb2.ListStatementsRequest, known: set[str]
    ) -> Iterable[bytes]:
        if request.position:
            later = self._book.since(request.position)
            if later is not None:
                return (item for item in later if sha256_hex(item) not in known)
        return self._book.unknown_to(known)

    def _store_chunk(self, peer: Peer, chunk: relay_pb2.Chunk) -> tuple[bytes, int]:
        # Charged for what it sends, whether that is then refused or not.
        self._intake.charge(str(peer.identity.site_id), len(chunk.data))
        self._chunks.put(chunk.sha256, chunk.data)
        return chunk.sha256, len(chunk.data)

    def _peer(self, context: grpc.ServicerContext) -> Peer:
        keyring = self._keyring
        return verified_peer(context, keyring.trust, Role.SITE, keyring.issuing.chain)

    def _publish(self, envelope: bytes, peer: Peer) -> bool:
        payload = dsse.verify(envelope, self._keyring.trust, (Role.SITE,), at=utc_now())
        check_speaker(peer.identity, payload.signer)
        kind = predicate_type(payload)
        if kind == PUBLICATION:
            return self._book.add_publication(payload, envelope)
        if kind == REVOCATION:
            return self._book.add_revocation(payload, envelope)
        if kind == HEADS:
            return self._heads.add(payload, envelope)
        if kind == CAPABILITIES:
            return capabilities.add(self._store, payload, envelope)
        raise MalformedError(f"a statement of type {kind[:120]!r} is not relayed")


def _heads_wanted(request: relay_pb2.ListStatementsRequest) -> list[str] | None:
    """Return the sites whose heads are asked for, None for all.

    Raises:
        MalformedError: too many.
    """
    if not request.some_heads:
        return None
    if len(request.heads_of) > MAX_HEADS_ASKED:
        raise MalformedError(f"heads of at most {MAX_HEADS_ASKED} sites can be asked for")
    return list(request.heads_of)
