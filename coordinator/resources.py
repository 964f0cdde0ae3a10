"""How many connections a server accepts: never so many that the store has no file descriptor left.

Whoever can reach the port can open connections and say nothing; each holds a descriptor until its
handshake is given up. Without a bound they would stop the store, and thereby everyone.
"""

import resource

MOST_CONNECTIONS = 4096
_KEPT_FOR_FILES = 256


def connections_allowed() -> int:
    """Raise this process's limit of open files as far as it may be, and share it out.

    Returns:
        connections to accept at once, those in their handshake included.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + _KEPT_FOR_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - _KEPT_FOR_FILES, allowed // 2)
