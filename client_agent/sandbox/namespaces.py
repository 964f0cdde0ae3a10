"""An empty network: the process has interfaces, ports and message queues of its own, all unused.

See namespaces(7). With a user namespace this needs no privilege where the system permits it.
"""

import os

from client_agent.sandbox.system import failure, library

_NEW_IPC, _NEW_USER, _NEW_NET = 0x08000000, 0x10000000, 0x40000000


def leave_network() -> None:
    """Move this process into a network and IPC namespace of its own.

    It must have one thread only.

    Raises:
        OSError, AttributeError: the system cannot or does not permit it.
    """
    unshare = library().unshare
    if unshare(_NEW_USER | _NEW_NET | _NEW_IPC) == 0:
        return
    first = failure()
    if os.geteuid() != 0 or unshare(_NEW_NET | _NEW_IPC) != 0:
        raise first
