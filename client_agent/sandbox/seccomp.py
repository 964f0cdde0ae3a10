"""Seccomp: every system call but the few that computing needs is answered "not permitted".

See seccomp(2). The allow-list is what CPython and onnxruntime were seen to use while they compute,
and what the C library needs for memory, locks, clocks and an orderly abort. It has no call that
opens, connects, starts a program or makes a process. Memory cannot be made executable or shared.
"""

import ctypes
import errno
import os
import platform
import struct

from client_agent.sandbox.system import syscall

_ALLOWED = {
    # name: (x86-64, aarch64)
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "set_robust_list": (273, 99),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "rseq": (334, 293),
}
_MMAP, _MPROTECT, _CLONE, _TGKILL, _SECCOMP = (9, 222), (10, 226), (56, 220), (234, 131), (317, 277)
_CLONE3 = 435
# Column of the tables above and AUDIT_ARCH of linux/audit.h.
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_PROT_EXEC, _MAP_SHARED, _CLONE_THREAD = 0x4, 0x1, 0x10000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

# Instructions of classic BPF (linux/bpf_common.h), answers of linux/seccomp.h, and where struct
# seccomp_data holds what is asked.
_LOAD, _JUMP_EQUAL, _JUMP_SET, _ANSWER = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def give_up_system_calls() -> None:
    """Put the filter on every thread of this process, for good.

    `forbid_new_privileges` comes first.

    Raises:
        OSError: the kernel has no seccomp, or the architecture has no table here.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no seccomp filter for {machine}")
    code = build_filter(machine, os.getpid())
    program = _Program(len(code) // 8, code)
    column, _ = _ARCHITECTURES[machine]
    syscall(_SECCOMP[column], _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program))


def build_filter(machine: str, process: int) -> bytes:
    """Return the filter as BPF instructions of 8 bytes.

    Args:
        machine: `x86_64` or `aarch64`.
        process: number of the process that it is for, which may signal nobody else.
    """
    column, architecture = _ARCHITECTURES[machine]
    not_permitted = _ERRNO | errno.EPERM
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, architecture, 1, 0),
        _step(_ANSWER, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    for numbers in _ALLOWED.values():
        code += [_step(_JUMP_EQUAL, numbers[column], 0, 1), _step(_ANSWER, _ALLOW)]
    # The C library falls back to `clone`, whose flags a filter can read.
    code += [_step(_JUMP_EQUAL, _CLONE3, 0, 1), _step(_ANSWER, _ERRNO | errno.ENOSYS)]
    code += [
        _step(_JUMP_EQUAL, _MMAP[column], 0, 6),
        _step(_LOAD, _ARGUMENTS + 8 * 2),
        _step(_JUMP_SET, _PROT_EXEC, 3, 0),
        _step(_LOAD, _ARGUMENTS + 8 * 3),
        _step(_JUMP_SET, _MAP_SHARED, 1, 0),
        _step(_ANSWER, _ALLOW),
        _step(_ANSWER, not_permitted),
    ]
    for number, argument, test, value, allowed in (
        (_MPROTECT[column], 2, _JUMP_SET, _PROT_EXEC, False),
        (_CLONE[column], 0, _JUMP_SET, _CLONE_THREAD, True),
        (_TGKILL[column], 0, _JUMP_EQUAL, process, True),
    ):
        code += [
            _step(_JUMP_EQUAL, number, 0, 4),
            _step(_LOAD, _ARGUMENTS + 8 * argument),
            _step(test, value, 0, 1),
            _step(_ANSWER, _ALLOW if allowed else not_permitted),
            _step(_ANSWER, not_permitted if allowed else _ALLOW),
        ]
    code.append(_step(_ANSWER, not_permitted))
    return b"".join(code)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction: struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
