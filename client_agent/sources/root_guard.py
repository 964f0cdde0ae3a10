"""A share that is cut off midway must not look like a thousand damaged files."""

import errno
from pathlib import Path

from client_agent.errors import ResourceError

_LOST = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN}
)
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})


class RootGuard:
    """Remembers which folder a source is, by device and inode.

    An unmounted share leaves its mount point behind: an empty folder of the same name.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._identity = self._look()

    def check(self, error: OSError) -> None:
        """Tell a file that cannot be read from a source that has gone.

        Args:
            error: what reading a file or folder of it met.

        Raises:
            ResourceError: the source has gone.
        """
        if error.errno not in _LOST:
            try:
                if self._look() == self._identity:
                    return
            except OSError as lost:
                if lost.errno not in _LOST | _ABSENT:
                    return
                error = lost
        raise ResourceError(
            f"{self._root} went away while it was read ({error.strerror or 'another folder now'})",
            hint="mount it again and run the same command",
        ) from error

    def _look(self) -> tuple[int, int]:
        status = self._root.stat()
        return status.st_dev, status.st_ino
