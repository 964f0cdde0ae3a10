"""Temporary folders that are full, read-only or missing: this machine's fault, said in one line.

Libraries want one too, some as soon as they are imported (torch's compiler).
"""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client_agent.errors import ResourceError

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
HINT = "free space there, or set TMPDIR to a folder that can be written, then run this again"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards, for files that hold no identity.

    Raises:
        ResourceError: none can be made, or there is no room for what is written into it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ff-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno in _REFUSED or is_missing(error):
            raise unusable(error) from error
        raise


def is_missing(error: OSError) -> bool:
    """True if `tempfile` found no folder that it could write a few bytes to."""
    return (
        error.errno == errno.ENOENT
        and error.filename is None
        and "temporary directory" in str(error.strerror)
    )


def unusable(error: OSError) -> ResourceError:
    """Say what is wrong: where it was tried is in the error."""
    if is_missing(error):
        _, _, tried = str(error.strerror).partition(" found in ")
        return ResourceError(
            f"no temporary folder can be written: {tried.strip('[]')} are full, read-only or "
            "not there",
            hint=HINT,
        )
    where = error.filename or tempfile.gettempdir()
    return ResourceError(f"no room for temporary files in {where}: {error.strerror}", hint=HINT)
