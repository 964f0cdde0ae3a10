"""What a site can ask of the coordinator: a small client over one channel.

Every call is safe to repeat, so transient faults are tried again here; what fails after that is an
error of client_agent.errors with the endpoint in it.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from client_agent.errors import NetworkError
from client_agent.relay.answers import Enrolled, FederationInfo, Inquiry, Renewal, SendResult
from client_agent.relay.calls import answer, stream
from client_agent.relay.chunk_wire import get_chunks, put_chunks
from client_agent.relay.listing import read_cards, read_statements
from client_agent.relay.receiving import Data, FileReceiver
from client_agent.relay.retrying import Attempts, retrying
from client_agent.relay.sending import ChunkSender
from client_agent.relay.translation import (
    CoordinatorUnreachableError,
    WrongServerError,
    translated,
)
from ff_protocol import PROTOCOL_VERSION
from ff_protocol.limits import (
    MAX_CHUNKS_PER_REQUEST,
    MAX_HEADS_ASKED,
)
from ff_protocol.manifest import FileEntry
from ff_protocol.statements import Publication
from ff_protocol.wire import relay_pb2, relay_pb2_grpc

Result = TypeVar("Result")
OnProgress = Callable[[int, int], None]

CONNECT_SECONDS = 10.0
CALL_SECONDS = 60.0
WATCH_STALL_SECONDS = 60.0
"""The coordinator rings every 20 s even without news."""
CONNECT_PATIENCE_SECONDS = 5.0
_MAX_KNOWN_PER_REQUEST = 30_000  # 34 bytes each: stays below the largest message


class RelayClient:
    """Calls to one coordinator.

    Attributes:
        bytes_sent, bytes_received: payload since the connection was opened: chunks, statements,
            certificates; without protocol overhead.
    """

    def __init__(self, channel: grpc.Channel, endpoint: str, attempts: Attempts) -> None:
        self.endpoint = endpoint
        self.bytes_sent = 0
        self.bytes_received = 0
        self._attempts = attempts
        self._relay = relay_pb2_grpc.RelayStub(channel)
        self._put_chunks = put_chunks(channel)
        self._get_chunks = get_chunks(channel)
        self._enrolment = relay_pb2_grpc.EnrolmentStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    def check_health(self) -> None:
        """Make sure that a coordinator answers, within some seconds.

        Raises:
            NetworkError, IdentityError: it does not.
        """
        patience = min(CONNECT_PATIENCE_SECONDS, self._attempts.patience_seconds)

        def check() -> None:
            answer = self._call(
                self._health.Check, health_pb2.HealthCheckRequest(), seconds=CONNECT_SECONDS
            )
            if answer.status != health_pb2.HealthCheckResponse.SERVING:
                raise CoordinatorUnreachableError(f"coordinator {self.endpoint} is shutting down")

        retrying(check, self._attempts.fresh(patience))

    def get_federation(self) -> FederationInfo:
        """Ask for the signed spec and the server's clock.

        Raises:
            NetworkError, IdentityError: see `connect`; or the coordinator's version differs.
        """
        answer = self._repeat(self._relay.GetFederation, relay_pb2.GetFederationRequest())
        if answer.protocol_version != PROTOCOL_VERSION:
            raise WrongServerError(
                f"coordinator {self.endpoint} speaks version {answer.protocol_version} of the "
                f"protocol, this agent speaks {PROTOCOL_VERSION}",
                hint="install the version that the consortium's operator names",
            )
        self.bytes_received += len(answer.spec_envelope)
        return FederationInfo(answer.spec_envelope, answer.server_time, answer.protocol_version)

    def enrol(self, tls_request: bytes, signing_request: bytes) -> Enrolled:
        """Exchange the invitation that this channel was opened with for two certificates.

        Args:
            tls_request: PKCS#10 request, PEM.
            signing_request: PKCS#10 request for another key, PEM.

        Raises:
            IdentityError: the invitation has expired or been used with other keys.
            NetworkError: the answer was lost: repeat with the same requests.
        """
        request = relay_pb2.EnrolRequest(tls_request=tls_request, signing_request=signing_request)
        answer = self._repeat(self._enrolment.Enrol, request)
        self.bytes_sent += len(tls_request) + len(signing_request)
        self.bytes_received += (
            len(answer.tls_chain) + len(answer.signing_chain) + len(answer.spec_envelope)
        )
        return Enrolled(answer.tls_chain, answer.signing_chain, answer.spec_envelope)

    def renew(
        self, tls_request: bytes, signing_request: bytes, signing_voucher: bytes = b""
    ) -> Renewal:
        """Ask for the next certificates of this site; an empty request asks for none.

        Args:
            tls_request: PKCS#10 request for a new key, PEM.
            signing_request: PKCS#10 request for another new key, PEM.
            signing_voucher: the present signing key's statement about it.

        Raises:
            IdentityError, RefusedError: the coordinator refuses.
            NetworkError: the answer was lost: repeat; or the coordinator is of an older version.
        """
        request = relay_pb2.RenewRequest(
            tls_request=tls_request,
            signing_request=signing_request,
            signing_voucher=signing_voucher,
        )
        answer = self._repeat(self._relay.Renew, request)
        self.bytes_sent += len(tls_request) + len(signing_request) + len(signing_voucher)
        self.bytes_received += len(answer.tls_chain) + len(answer.signing_chain)
        return Renewal(answer.tls_chain, answer.signing_chain)

    def send_module(
        self,
        folder: Path,
        envelope: bytes,
        entries: dict[str, FileEntry],
        on_progress: OnProgress | None = None,
    ) -> SendResult:
        """Send the chunks that the coordinator lacks, then publish. Sending twice is a no-op.

        Args:
            folder: holds the files of `entries`.
            envelope: signed publication of the module.
            entries: the module's files by name, from `describe_module`.
            on_progress: called with (bytes that the coordinator has, bytes in all).

        Raises:
            NetworkError: nothing is lost; sending again goes on where it stopped.
            RefusedError, IdentityError: the coordinator refuses, with the reason.
            DataError: a file changed while it was being sent.
        """
        before = self.bytes_sent
        sender = ChunkSender(folder, entries, on_progress)

        def count(size: int) -> None:
            self.bytes_sent += size

        def work(attempts: Attempts) -> None:
            missing = sender.missing(self._find_missing)
            sender.send(self._put_chunks, missing, self._stall_seconds, attempts, count)

        self._transfer(work)
        already_there = self.publish(envelope)
        return SendResult(
            bytes_sent=self.bytes_sent - before,
            chunks_sent=sender.chunks_sent,
            chunks_total=sender.chunks_total,
            already_there=already_there,
        )

    def publish(self, envelope: bytes) -> bool:
        """Hand in a signed statement; True if the coordinator had it already.

        Raises:
            RefusedError, IdentityError: the coordinator refuses, with the reason.
            NetworkError: it cannot be reached.
        """
        answer = self._repeat(self._relay.Publish, relay_pb2.PublishRequest(envelope=envelope))
        self.bytes_sent += len(envelope)
        return bool(answer.already_there)

    def list_statements(self, known: set[str]) -> Iterator[bytes]:
        """Yield the envelopes that this site does not know, revocations first, as they come.

        Args:
            known: SHA-256 of envelopes, hexadecimal.

        Raises:
            NetworkError: cut off, or more or larger statements than a federation can have.
        """
        yield from self.list_news(Inquiry(frozenset(known)))

    def list_news(self, inquiry: Inquiry) -> Generator[bytes, None, bytes]:
        """Yield what an inquiry asks for, roots and revocations first, as it comes.

        Returns:
            The position from which to ask the next time; empty if the coordinator has none, being
            of an older version.

        Raises:
            NetworkError: cut off, or more or larger statements than a federation can have.
        """
        seen = set(inquiry.known)
        attempts = self._attempts.fresh()
        while True:
            try:
                return (yield from self._new_statements(inquiry, seen, attempts))
            except NetworkError as error:
                attempts.failed(error)

    def watch(self, seconds: float | None = None) -> Iterator[bytes]:
        """Yield the head of the coordinator's statements at once and then now and then.

        Another head than the last one means that `list_statements` has something new. The
        coordinator may end this at any time, for example because it has too many watchers.

        Args:
            seconds: end after this long; None leaves it to the coordinator.

        Raises:
            NetworkError, IdentityError: the connection broke, or the coordinator refuses.
        """
        began = time.monotonic()
        try:
            with (
                translated(self.endpoint),
                closing(
                    stream(
                        lambda: self._relay.Watch(relay_pb2.WatchRequest(), timeout=seconds),
                        WATCH_STALL_SECONDS,
                    )
                ) as rings,
            ):
                for news in rings:
                    yield bytes(news.head)
        except CoordinatorUnreachableError:
            if seconds is None or time.monotonic() - began < seconds:
                raise

    def fetch_files(
        self, publication: Publication, folder: Path, on_progress: OnProgress | None = None
    ) -> None:
        """Fetch a module's files into `folder`, going on from whole verified chunks there.

        Args:
            publication: what to fetch, from a verified statement.
            folder: destination; unfinished files end in `.part`.
            on_progress: called with (bytes here, bytes in all).

        Raises:
            NetworkError: cut off or damaged; what was verified stays for the next time.
            RefusedError: the files contradict the publication.
            StorageError: the disk refuses.
        """

        receiver = FileReceiver(publication, folder, on_progress)

        def work(attempts: Attempts) -> None:
            def read_chunks(entry: FileEntry, index: int) -> Generator[Data, None, None]:
                for start in range(index, len(entry.chunks), MAX_CHUNKS_PER_REQUEST):
                    digests = entry.chunks[start : start + MAX_CHUNKS_PER_REQUEST]
                    for data in self._chunks(digests):
                        self.bytes_received += len(data)
                        attempts.progressed()
                        yield data

            receiver.fetch(read_chunks)

        self._transfer(work)

    def fetch_cards(
        self, publications: list[Publication]
    ) -> Iterator[tuple[Publication, bytes | None]]:
        """Yield the bytes of each module's `card.json`, unchecked, many in one call.

        None stands for a card that the coordinator does not have or will not give.

        Raises:
            NetworkError: cut off; call again for the rest.
        """

        def chunks(digests: tuple[str, ...]) -> Iterator[Data]:
            with translated(self.endpoint):
                for data in self._chunks(digests):
                    self.bytes_received += len(data)
                    yield data

        yield from read_cards(publications, chunks, self._attempts.fresh())

    def _find_missing(self, digests: list[bytes]) -> set[bytes]:
        request = relay_pb2.FindMissingChunksRequest(sha256=digests)
        found = answer(self._relay.FindMissingChunks, request, self._call_seconds)
        return set(found.sha256)

    def _chunks(self, digests: tuple[str, ...]) -> Iterator[Data]:
        """Yield as many chunks as were asked for, or fewer: the caller checks what they are."""
        request = relay_pb2.GetChunksRequest(sha256=map(bytes.fromhex, digests))
        with closing(stream(lambda: self._get_chunks(request), self._stall_seconds)) as chunks:
            for data, _ in zip(chunks, digests, strict=False):
                yield data

    def _new_statements(
        self, inquiry: Inquiry, seen: set[str], attempts: Attempts
    ) -> Generator[bytes, None, bytes]:
        labels = [bytes.fromhex(label) for label in sorted(seen)[:_MAX_KNOWN_PER_REQUEST]]
        request = relay_pb2.ListStatementsRequest(
            known=labels,
            position=inquiry.position,
            some_heads=inquiry.heads_of is not None,
            heads_of=(inquiry.heads_of or ())[:MAX_HEADS_ASKED],
        )
        self.bytes_sent += request.ByteSize()

        def count(size: int) -> None:
            self.bytes_received += size
            attempts.progressed()

        with (
            translated(self.endpoint),
            closing(
                stream(lambda: self._relay.ListStatements(request), self._stall_seconds)
            ) as messages,
        ):
            return (yield from read_statements(messages, seen, count))

    def _transfer(self, work: Callable[[Attempts], Result]) -> Result:
        attempts = self._attempts.fresh()

        def attempt() -> Result:
            with translated(self.endpoint):
                return work(attempts)

        return retrying(attempt, attempts)

    def _repeat(self, method: Any, request: Any) -> Any:
        return retrying(lambda: self._call(method, request), self._attempts.fresh())

    def _call(self, method: Any, request: Any, seconds: float = CALL_SECONDS) -> Any:
        with translated(self.endpoint):
            return answer(method, request, min(seconds, self._call_seconds))

    @property
    def _call_seconds(self) -> float:
        # Who waits less long than usual does not wait longer for a short answer either.
        return min(CALL_SECONDS, self._attempts.patience_seconds)

    @property
    def _stall_seconds(self) -> float:
        # Half the patience: a connection that died without a word is replaced once before the end.
        return self._attempts.patience_seconds / 2
