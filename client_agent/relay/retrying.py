"""Trying again: exponential backoff with full jitter, bounded, for faults that may pass."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from client_agent.errors import NetworkError

Result = TypeVar("Result")


@dataclass
class Attempts:
    """A budget of attempts that progress fills up again.

    Attributes:
        limit: attempts in a row without progress.
        base_seconds, cap_seconds: before attempt k the wait is uniform in
            [0, min(cap, base * 2^k)] ("full jitter", so that sites do not come back all at once).
        sleep: for tests.
    """

    limit: int = 5
    base_seconds: float = 0.25
    cap_seconds: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    _failed: int = field(default=0, init=False)

    def progressed(self) -> None:
        """Something was transferred: start counting anew."""
        self._failed = 0

    def failed(self, error: NetworkError) -> None:
        """Wait before the next attempt.

        Raises:
            NetworkError: `error` itself, if it will not pass or no attempt is left.
        """
        self._failed += 1
        if not error.transient or self._failed >= self.limit:
            raise error
        limit = min(self.cap_seconds, self.base_seconds * 2**self._failed)
        self.sleep(random.uniform(0, limit))  # noqa: S311


def retrying(work: Callable[[], Result], attempts: Attempts) -> Result:
    """Do `work` until it succeeds or `attempts` are used up."""
    while True:
        try:
            return work()
        except NetworkError as error:
            attempts.failed(error)
