"""The C library's system calls that Python has no name for."""

import ctypes
import os
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def library() -> ctypes.CDLL:
    """Return the C library; `errno` is kept for `failure`."""
    return ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: Any) -> int:
    """Make a system call by number.

    Args:
        number: of this machine's architecture.
        arguments: whole numbers as 64 bits, or ctypes pointers.

    Raises:
        OSError: with the kernel's errno.
    """
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    call = library().syscall
    call.restype = ctypes.c_long
    result: int = call(ctypes.c_long(number), *wide)
    if result < 0:
        raise failure()
    return result


def failure() -> OSError:
    """Return what the last call of the C library said."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Raises:
        OSError, AttributeError: this system cannot.
    """
    import signal

    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def forbid_new_privileges() -> None:
    """Make set-user-ID programs and file capabilities give nothing (for good).

    Raises:
        OSError, AttributeError: this system cannot.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up what root may do beyond others, also within its own namespaces.

    Raises:
        OSError, AttributeError: this system cannot.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if library().capset(header, nothing) != 0:
        raise failure()


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    if library().prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise failure()
