"""The calls being answered: who is served, how many at once, what is logged, when one is given up.

Every call passes through `Calls.answering`, which gives it an id (in the log and in the trailing
metadata `x-request-id`), counts it, bounds it, and turns faults into gRPC status.
"""

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from coordinator.errors import BusyError, QuotaError
from coordinator.identity import Peer
from coordinator.membership import Membership
from coordinator.metrics import TRANSFERS, Metrics
from coordinator.quotas import CallRate, Quotas
from coordinator.status_codes import status_of
from ff_protocol.errors import FederatedFactoryError

LOG = logging.getLogger("coordinator.calls")
REQUEST_ID = "x-request-id"
LIMIT, AGAIN_AFTER = "x-limit", "x-again-after"
"""Trailing metadata of a refusal: the limit that was reached; seconds until trying again helps."""
LASTING = frozenset({"Watch"})
"""Calls that go on until one side ends them: a shutdown does not wait for them."""
_LATER = "try again in a moment"


@dataclass(frozen=True)
class Limits:
    """What one server answers at once.

    Attributes:
        site_calls: calls of one site.
        transfers: streams of chunks of all sites; each takes about 3 MiB of memory.
        stall_seconds: a call without progress for so long is ended, but for lasting ones.
        quotas: what one site may use in a minute, a day, and altogether.
    """

    site_calls: int = 8
    transfers: int = 256
    stall_seconds: float = 120.0
    quotas: Quotas = field(default_factory=Quotas)


@dataclass(eq=False)
class CallRecord:
    """One call: what its log line says, besides its outcome."""

    method: str
    context: grpc.ServicerContext
    admit: "Callable[[CallRecord, str], None]"
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    site: str | None = None
    received: int = 0
    sent: int = 0
    counted: bool = False
    ended_because: str | None = None
    seen: tuple[int, int] = (0, 0)
    progressed_at: float = field(default_factory=time.monotonic)

    def caller(self, peer: Peer) -> Peer:
        """Note who is calling.

        Raises:
            ExpelledError: the site is refused.
            BusyError: it has too many calls already.
        """
        assert peer.identity.site_id is not None, "only sites and invited sites call"
        self.admit(self, peer.identity.site_id)
        return peer

    def end(self, reason: str) -> None:
        """End the call from another thread."""
        self.ended_because = reason
        self.context.cancel()


class Calls:
    """The calls that one server is answering."""

    def __init__(self, metrics: Metrics, membership: Membership, limits: Limits) -> None:
        self._metrics = metrics
        self._membership = membership
        self._limits = limits
        self._changed = threading.Condition()
        self._open: set[CallRecord] = set()
        self._of_site: Counter[str] = Counter()
        self._rate = CallRate(limits.quotas.minute_calls)
        self._draining = False
        self._closed = threading.Event()
        watch = threading.Thread(target=self._watch, name="calls", daemon=True)
        watch.start()

    @contextmanager
    def answering(self, context: grpc.ServicerContext, method: str) -> Iterator[CallRecord]:
        """Answer one call inside: any fault becomes a status, and a line is logged."""
        record = CallRecord(method, context, self._admit)
        started = time.monotonic()
        refuse: Callable[[], NoReturn] | None = None
        outcome, reason, text = "OK", None, ""
        context.set_trailing_metadata(((REQUEST_ID, record.request_id),))
        try:
            self._begin(record)
            yield record
            # To whoever reads its stream a call that was cancelled may look as if it had ended.
            if record.ended_because is not None or not context.is_active():
                outcome = "CANCELLED"
        except GeneratorExit:
            outcome = "CANCELLED"
            raise
        except FederatedFactoryError as error:
            code, public = status_of(error)
            outcome, reason, text = code.name, error.error_code, f": {error.message}"
            if isinstance(error, QuotaError):
                context.set_trailing_metadata(_metadata(record, error))
            refuse = lambda: context.abort(code, public)  # noqa: E731
        except grpc.RpcError:
            outcome = "CANCELLED"  # the peer went away while its stream was read, or `end`
        except Exception as error:
            code, public = status_of(error)
            outcome, reason = code.name, "internal"
            LOG.exception(
                "unforeseen fault", extra={"method": method, "request_id": record.request_id}
            )
            refuse = lambda: context.abort(code, public)  # noqa: E731
        finally:
            if outcome == "CANCELLED":
                reason = record.ended_because or "cancelled"
            self._end(record)
            self._metrics.call_ended(method, outcome, reason, record.received, record.sent)
            LOG.info(
                "call",
                extra={
                    "method": method,
                    "request_id": record.request_id,
                    "site": record.site,
                    "outcome": outcome,
                    "milliseconds": round(1000 * (time.monotonic() - started)),
                    "bytes_received": record.received,
                    "bytes_sent": record.sent,
                    **({"reason": reason + text} if reason else {}),
                },
            )
        if refuse is not None:
            refuse()

    def drain(self, seconds: float) -> bool:
        """Refuse new calls and wait for the running ones; True if all have ended in time."""
        with self._changed:
            self._draining = True
            return self._changed.wait_for(self._idle, timeout=seconds)

    def close(self) -> None:
        """Watch over calls no more."""
        self._closed.set()

    def _idle(self) -> bool:
        return all(record.method in LASTING for record in self._open)

    def _begin(self, record: CallRecord) -> None:
        with self._changed:
            if self._draining:
                raise BusyError(
                    "the coordinator is shutting down", hint="try again: another may take over"
                )
            running = sum(other.method in TRANSFERS for other in self._open)
            if record.method in TRANSFERS and running >= self._limits.transfers:
                raise BusyError("the coordinator serves as many transfers as it can", hint=_LATER)
            self._open.add(record)
        self._metrics.open_streams.labels(record.method).inc()

    def _admit(self, record: CallRecord, site: str) -> None:
        record.site = site
        self._membership.check(site)
        with self._changed:
            self._rate.take(site)
            if self._of_site[site] >= self._limits.site_calls:
                raise BusyError(f"{site} has {self._of_site[site]} calls at once", hint=_LATER)
            self._of_site[site] += 1
            record.counted = True

    def _end(self, record: CallRecord) -> None:
        with self._changed:
            if record not in self._open:
                return
            self._open.remove(record)
            if record.counted and record.site is not None:
                self._of_site[record.site] -= 1
                if not self._of_site[record.site]:
                    del self._of_site[record.site]
            self._changed.notify_all()
        self._metrics.open_streams.labels(record.method).dec()

    def _watch(self) -> None:
        """End what stands still and what belongs to a site that was expelled meanwhile."""
        pause = min(1.0, self._limits.stall_seconds / 4)
        while not self._closed.wait(pause):
            with self._changed:
                running = list(self._open)
            for record in running:
                try:
                    reason = self._why_end(record)
                    if reason is not None and record.ended_because is None:
                        record.end(reason)
                except Exception:  # one call's fault must not end the watch over the others
                    LOG.exception("cannot watch over a call", extra={"method": record.method})

    def _why_end(self, record: CallRecord) -> str | None:
        now, seen = time.monotonic(), (record.received, record.sent)
        if seen != record.seen:
            record.seen, record.progressed_at = seen, now
        if record.method not in LASTING:
            stalled = now - record.progressed_at > self._limits.stall_seconds
            return "stalled" if stalled else self._expelled(record)
        return self._expelled(record)

    def _expelled(self, record: CallRecord) -> str | None:
        try:
            expelled = record.site is not None and self._membership.is_expelled(record.site)
        except FederatedFactoryError:
            return None  # the store does not answer: the call will notice by itself
        return "expelled" if expelled else None


def _metadata(record: CallRecord, error: QuotaError) -> tuple[tuple[str, str], ...]:
    waiting = () if error.again_after is None else ((AGAIN_AFTER, f"{error.again_after:.1f}"),)
    return ((REQUEST_ID, record.request_id), (LIMIT, error.limit), *waiting)
