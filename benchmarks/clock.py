"""Processor time, which other work on the machine does not lengthen."""

import resource
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def seconds_of(work: Callable[[], Result]) -> tuple[float, Result]:
    """Do `work`; return the seconds of processor time that it took, and its result.

    Processes that `work` starts and waits for count: modules are sampled in such.
    """
    started = _spent()
    result = work()
    return _spent() - started, result


def _spent() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))
