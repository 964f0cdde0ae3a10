"""Trying again: exponential backoff with full jitter, for faults that may pass.

One rule says when to give up: after so many seconds without progress. How long a transfer takes in
all does not matter, so that a slow line is as good as a fast one.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from client_agent.errors import NetworkError

Result = TypeVar("Result")

PATIENCE_SECONDS = 120.0


@dataclass
class Attempts:
    """When to try again; progress starts the count anew.

    Attributes:
        limit: most attempts in a row without progress; None leaves it to the time.
        base_seconds, cap_seconds: before attempt k the wait is uniform in
            [0, min(cap, base * 2^k)] ("full jitter", so that sites do not come back all at once).
        patience_seconds: a fault is final if this long nothing was transferred.
        sleep, clock: for tests.
    """

    limit: int | None = None
    base_seconds: float = 0.25
    cap_seconds: float = 10.0
    patience_seconds: float = PATIENCE_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _failed: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._since = self.clock()

    def fresh(self, patience_seconds: float | None = None) -> "Attempts":
        """Return an unused copy, with another patience if one is given."""
        return Attempts(
            self.limit,
            self.base_seconds,
            self.cap_seconds,
            self.patience_seconds if patience_seconds is None else patience_seconds,
            self.sleep,
            self.clock,
        )

    def progressed(self) -> None:
        """Something was transferred: start counting anew."""
        self._failed = 0
        self._since = self.clock()

    def failed(self, error: NetworkError) -> None:
        """Wait before the next attempt.

        Raises:
            NetworkError: `error` itself, if it will not pass or patience is at its end.
        """
        self._failed += 1
        left = self._since + self.patience_seconds - self.clock()
        if not error.transient or left <= 0 or self._failed == self.limit:
            raise error
        limit = min(self.cap_seconds, self.base_seconds * 2 ** min(self._failed, 30))
        self.sleep(min(left, random.uniform(0, limit)))  # noqa: S311


def retrying(work: Callable[[], Result], attempts: Attempts) -> Result:
    """Do `work` until it succeeds or `attempts` are used up."""
    while True:
        try:
            return work()
        except NetworkError as error:
            attempts.failed(error)
