"""Pretending to be an older or hardened kernel: system calls that a filter makes unknown."""

import ctypes
import errno
import platform
import struct

from client_agent.sandbox.system import forbid_new_privileges, syscall

_LANDLOCK = (444, 445, 446)
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_SECCOMP = {"x86_64": 317, "aarch64": 277}


def forget_landlock_and_namespaces() -> None:
    """Have landlock's calls and `unshare` answered as a kernel without them answers, for good.

    For this process and those that it starts.
    """
    machine = platform.machine()
    code = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    for number in (*_LANDLOCK, _UNSHARE[machine]):
        code.append(struct.pack("=HBBI", 0x15, 0, 1, number))
        code.append(struct.pack("=HBBI", 0x06, 0, 0, 0x00050000 | errno.ENOSYS))
    code.append(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    filled = b"".join(code)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    forbid_new_privileges()
    program = Program(len(code), filled)
    syscall(_SECCOMP[machine], 1, 1, ctypes.byref(program))
