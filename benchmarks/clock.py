"""Processor time, which other work on the machine does not lengthen."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def seconds_of(work: Callable[[], Result]) -> tuple[float, Result]:
    """Do `work`; return the seconds of processor time that it took, and its result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result
