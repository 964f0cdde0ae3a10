"""How much one member may use: so that no site, careless or hostile, can fill or stall the relay.

Nothing of a count is in one server alone but the rate of calls: what a site has sent in a day and
which modules it has published are small objects in the store, so that any number of replicas keep
one account. Each is written first and counted afterwards: two replicas that reach a limit together
may both refuse, never both accept.

    intake/<site>/<day>/<bytes>-<random>.txt   bytes that a replica took out of the day's allowance
    published/<site>/<module digest>.txt       a module that the site has published

Days are those of UTC. Garbage collection removes the allowances of past days.
"""

import datetime as dt
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.errors import QuotaError
from coordinator.store import Store
from ff_protocol.limits import CHUNK_BYTES, MIB
from ff_protocol.names import check_digest, check_site_id

INTAKE = "intake/"
PUBLISHED = "published/"
_BLOCK_BYTES = 64 * MIB
_BLOCKS_A_DAY = 16
_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Quotas:
    """What one site may use.

    Attributes:
        day_bytes: bytes of chunks that it may send in a day, chunks sent twice counted twice.
        modules: modules that it has published and not revoked.
        statements: publications, and as many revocations, in all its life.
        minute_calls: calls in a minute, at each replica; a minute's worth may come at once.
    """

    day_bytes: int = 16 * 1024 * MIB
    modules: int = 256
    statements: int = 5000
    minute_calls: int = 1200


class IntakeQuota:
    """The bytes that sites may send in a day.

    A replica takes a block out of a site's allowance, a sixteenth of it and 64 MiB at most, and
    spends it as chunks come. What is left of a block when a replica ends is lost for that day.
    """

    def __init__(
        self, store: Store, day_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._limit, self._clock = store, day_bytes, clock
        self._block = max(CHUNK_BYTES, min(_BLOCK_BYTES, day_bytes // _BLOCKS_A_DAY))
        self._lock = threading.Lock()
        self._left: dict[str, tuple[str, int]] = {}
        self._taking: dict[str, threading.Lock] = {}

    def charge(self, site: str, size: int) -> None:
        """Count bytes before they are stored.

        Args:
            site: who sends them.
            size: at most a chunk's.

        Raises:
            QuotaError: the day's allowance is used up.
        """
        with self._lock:
            taking = self._taking.setdefault(site, threading.Lock())
        with taking:
            day = _day(self._clock())
            known, left = self._left.get(site, (day, 0))
            if known != day:
                left = 0
            if left < size:
                self._take(site, day)
                left += self._block
            self._left[site] = (day, left - size)

    def _take(self, site: str, day: str) -> None:
        prefix = f"{INTAKE}{check_site_id(site)}/{day}/"
        if self._taken(prefix) + self._block > self._limit:
            raise self._used_up(site)
        key = f"{prefix}{self._block}-{secrets.token_hex(8)}.txt"
        self._store.put_if_absent(key, b"1")
        if self._taken(prefix) > self._limit:
            self._store.delete(key)
            raise self._used_up(site)

    def _taken(self, prefix: str) -> int:
        return sum(
            int(key.removeprefix(prefix).partition("-")[0]) for key in self._store.list(prefix)
        )

    def _used_up(self, site: str) -> QuotaError:
        return QuotaError(
            "site-mebibytes",
            f"{site} has sent {self._limit // MIB} MiB today, as much as one site may in a day",
            hint="it may go on tomorrow (UTC), or ask the operator for more: "
            "ff-coordinator serve --site-mebibytes",
        )


def forget_past_days(store: Store, now: float) -> int:
    """Remove the allowances of days before yesterday; return how many there were."""
    yesterday = _day(now - _DAY_SECONDS)
    past = [key for key in store.list(INTAKE) if key.split("/")[2] < yesterday]
    for key in past:
        store.delete(key)
    return len(past)


class ModuleQuota:
    """The modules that a site has published."""

    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store, self._quotas = store, quotas

    def enter(self, site: str, module: str, is_revoked: Callable[[str], bool]) -> None:
        """Count a module that is about to be published; once, however often it is tried.

        Args:
            site: its publisher.
            module: its digest.
            is_revoked: tells which of the site's modules no longer count.

        Raises:
            QuotaError: the site has as many as it may.
        """
        prefix = f"{PUBLISHED}{check_site_id(site)}/"
        key = f"{prefix}{check_digest(module)}.txt"
        created = self._store.put_if_absent(key, b"1")
        modules = [
            item.removeprefix(prefix).removesuffix(".txt") for item in self._store.list(prefix)
        ]
        live = sum(not is_revoked(item) for item in modules)
        try:
            self._check(site, live, len(modules))
        except QuotaError:
            if created:
                self._store.delete(key)
                raise

    def check_revocations(self, site: str, count: int) -> None:
        """Make sure that a site's chain of revocations does not grow without end.

        Raises:
            QuotaError: it has as many as one site may.
        """
        if count >= self._quotas.statements:
            raise QuotaError(
                "statements",
                f"{site} has issued {count} revocations, as many as one site may",
                hint="one revocation can name the whole site; ask the operator",
            )

    def _check(self, site: str, live: int, ever: int) -> None:
        if live > self._quotas.modules:
            raise QuotaError(
                "site-modules",
                f"{site} has {live - 1} modules in the federation, as many as one site may",
                hint="revoke some (ff-agent revoke), or ask the operator for more: "
                "ff-coordinator serve --site-modules",
            )
        if ever > self._quotas.statements:
            raise QuotaError(
                "statements",
                f"{site} has published {ever - 1} modules in its time, as many as one site may",
                hint="ask the operator",
            )


@dataclass
class CallRate:
    """How many calls a site may make: a bucket that holds a minute's worth and is always refilled.

    Attributes:
        minute_calls: what flows in within a minute, and what it holds.
        clock: seconds.
    """

    minute_calls: int
    clock: Callable[[], float] = time.monotonic
    _full_at: dict[str, float] = field(default_factory=dict)

    def take(self, site: str) -> None:
        """Count one call. Not for several threads at once.

        Raises:
            QuotaError: too many came; it says when to come again.
        """
        now, one = self.clock(), 60.0 / self.minute_calls
        # The moment at which the bucket will be full again says how much is missing from it.
        full_at = max(now, self._full_at.get(site, now)) + one
        if full_at - now > 60.0:
            wait = full_at - now - 60.0
            raise QuotaError(
                "site-calls-per-minute",
                f"{site} has made more than {self.minute_calls} calls in a minute",
                hint="try again in a moment",
                again_after=wait,
            )
        self._full_at[site] = full_at


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y%m%d")
