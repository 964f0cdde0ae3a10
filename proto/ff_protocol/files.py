"""Files that are either old or new, never half: temporary file, fsync, rename, fsync the folder."""

import errno
import os
import secrets
from pathlib import Path

from ff_protocol.errors import ExitCode, FederatedFactoryError, MalformedError


class StorageError(FederatedFactoryError):
    """The local disk refused: full, read-only, over quota or not permitted."""

    exit_code = ExitCode.RESOURCES
    error_code = "storage"


_EXPLAINED = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EFBIG: "the file is larger than the file system or the limit allows",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """Turn an OSError met while writing `path` into one clear line."""
    reason = _EXPLAINED.get(error.errno or 0, error.strerror or str(error))
    return StorageError(
        f"cannot write {path}: {reason}",
        hint="free space or mend the permissions, then run the same command again; nothing is lost",
    )


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old or the new bytes only.

    Args:
        path: the destination; missing parent folders are made.
        data: the whole content.
        mode: permission bits, in force before the first byte is written.

    Raises:
        StorageError: the disk is full, read-only or not writable.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def sync_folder(folder: Path) -> None:
    """Make renames and deletions inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, max_bytes: int, what: str) -> bytes:
    """Read a whole file, refusing one larger than `max_bytes` before allocating for it.

    Raises:
        MalformedError: larger than allowed, or not a regular file.
        FileNotFoundError: no such file.
    """
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise MalformedError(f"{what} {path.name}: larger than the {max_bytes} bytes accepted")
    return data
