"""Resource limits: memory, CPU time, and no new descriptor, file byte, core dump or locked page.

See getrlimit(2). RLIMIT_NOFILE of 0 denies every call that would make a descriptor, so that even a
kernel with no other layer opens no file and no socket. It binds because no limit can be raised
again without a capability that was given up.
"""

import resource
from pathlib import Path

from ff_protocol.limits import MIB

_STACK = 8 * MIB
_ARENA = 192 * MIB  # addresses, not memory, that the C library reserves for a thread's heap


def set_limits(held: tuple[int, int], memory_bytes: int, cpu_seconds: int, threads: int) -> None:
    """Bound this process from now on.

    Args:
        held: from `memory_held`.
        memory_bytes: what it may allocate beyond that.
        cpu_seconds: CPU time of its whole life.
        threads: how many threads it will start.

    Raises:
        OSError, ValueError: the system refuses.
    """
    addresses, data = held
    data += memory_bytes + threads * _STACK
    bounds = {
        "RLIMIT_DATA": data,
        "RLIMIT_AS": max(data, addresses + memory_bytes) + threads * _ARENA,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_NOFILE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    for name, bound in bounds.items():
        which = getattr(resource, name, None)
        if which is None:
            continue
        _, most = resource.getrlimit(which)
        tighter = bound if most == resource.RLIM_INFINITY else min(bound, most)
        resource.setrlimit(which, (tighter, tighter))


def offer_to_be_killed() -> None:
    """Where memory runs out all the same, let the kernel take this process and no other.

    Raises:
        OSError: the system has no such choice.
    """
    Path("/proc/self/oom_score_adj").write_text("1000")


def memory_held() -> tuple[int, int]:
    """Return how many bytes of addresses, and of private data, this process has already."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 1024 * MIB, 1024 * MIB
    page = resource.getpagesize()
    return int(fields[0]) * page, int(fields[5]) * page
