"""Putting the layers on, each independent of the others, so that a gap in one is not a way out."""

from collections.abc import Callable
from enum import IntFlag
from pathlib import Path

from client_agent.sandbox.landlock import give_up_files
from client_agent.sandbox.namespaces import leave_network
from client_agent.sandbox.resource_limits import memory_held, offer_to_be_killed, set_limits
from client_agent.sandbox.seccomp import give_up_system_calls
from client_agent.sandbox.system import drop_capabilities, forbid_new_privileges


class Layer(IntFlag):
    """What confines a worker; a set of them is a sum."""

    LIMITS = 1
    NAMESPACES = 2
    LANDLOCK = 4
    SECCOMP = 8


ALL_LAYERS = Layer.LIMITS | Layer.NAMESPACES | Layer.LANDLOCK | Layer.SECCOMP


def confine(memory_bytes: int, cpu_seconds: int, threads: int, wanted: Layer = ALL_LAYERS) -> Layer:
    """Confine this process, for good, as far as the system can.

    To be called with one thread, after everything has been imported: nothing can be opened
    afterwards.

    Args:
        memory_bytes: what it may allocate beyond what it has.
        cpu_seconds: CPU time of its whole life.
        threads: how many threads it will start.
        wanted: tests leave layers out to see each one work alone.

    Returns:
        The layers that are in force.
    """
    single = _threads() == 1
    _succeeds(offer_to_be_killed)
    # Each step takes away what the ones before it need: files, descriptors, system calls.
    held = memory_held()
    in_force = Layer(0)
    if Layer.NAMESPACES in wanted and single and _succeeds(leave_network):
        in_force |= Layer.NAMESPACES
    without_privileges = _succeeds(forbid_new_privileges)
    if Layer.LANDLOCK in wanted and without_privileges and single and _succeeds(give_up_files):
        in_force |= Layer.LANDLOCK
    if Layer.LIMITS in wanted and _succeeds(
        lambda: set_limits(held, memory_bytes, cpu_seconds, threads)
    ):
        in_force |= Layer.LIMITS
    _succeeds(drop_capabilities)
    if Layer.SECCOMP in wanted and without_privileges and _succeeds(give_up_system_calls):
        in_force |= Layer.SECCOMP
    return in_force


def _threads() -> int:
    """How many threads this process has: only the calling one is held by Landlock."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return 1


def _succeeds(step: Callable[[], None]) -> bool:
    """Take a step; a kernel without it, or that does not permit it, is no fault here."""
    try:
        step()
    except (OSError, ValueError, AttributeError):
        return False
    return True
