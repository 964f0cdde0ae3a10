"""Landlock: the process takes from itself every right to files, ports and other processes.

See landlock(7). An empty ruleset that handles every right the kernel knows grants none of them.
"""

import ctypes
import os

from client_agent.sandbox.system import syscall

# Numbers of these calls are the same on every architecture.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1

# Rights by the version of the interface that added them, LANDLOCK_ACCESS_FS_*: version 1 has bits
# 0 to 12, each later one the bit after (refer, truncate, ioctl on devices).
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NETWORK_SINCE, _NETWORK_RIGHTS = 4, 0b11  # bind and connect, TCP
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


def interface_version() -> int:
    """Return the kernel's Landlock version, 1 or higher.

    Raises:
        OSError: the kernel has none, or it is switched off.
    """
    return syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)


def give_up_files() -> None:
    """Deny this thread, and those it starts from now on, every file and every TCP port.

    `forbid_new_privileges` comes first. Descriptors that are open stay usable.

    Raises:
        OSError, AttributeError: the kernel has no Landlock.
    """
    version = interface_version()
    rules = _Ruleset(_FILE_RIGHTS[max(key for key in _FILE_RIGHTS if key <= version)], 0, 0)
    size = 8
    if version >= _NETWORK_SINCE:
        rules.handled_access_net, size = _NETWORK_RIGHTS, 16
    if version >= _SCOPES_SINCE:
        rules.scoped, size = _SCOPES, 24
    descriptor = syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0)
    try:
        syscall(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)
