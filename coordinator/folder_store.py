"""A store in a local folder, durable against power loss.

obstore's local store does not fsync, so an acknowledged chunk could be lost or come back empty;
here an object's bytes are on the disk before its name exists (write, fsync, link, fsync folder).
Several processes may share the folder.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from coordinator.durable_writing import DurableWriter
from coordinator.errors import StoreError
from coordinator.store import Held
from ff_protocol.files import StorageError, storage_error, sync_folder

_KEY = re.compile(r"[a-z0-9][a-z0-9-]*(?:/[a-z0-9][a-z0-9-]*)*(?:\.[a-z0-9]+)?", re.ASCII)
_TEMPORARY = ".new"
_ABANDONED_SECONDS = 24 * 3600


class FolderStore:
    """Objects as files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = DurableWriter()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object durably; False if the key is taken.

        Raises:
            StoreError: full, read-only or not permitted.
        """
        path = self._path(key)
        if path.exists():
            return False
        temporary = self._folder / _TEMPORARY / secrets.token_hex(16)
        try:
            self._make_folder(temporary.parent)
            self._make_folder(path.parent)
            try:
                self._write(temporary, data)
                # link, unlike rename, fails where the name is taken.
                os.link(temporary, path)
                created = True
            except FileExistsError:
                created = False
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise _store_error(error, path) from error
        return created

    def get(self, key: str) -> bytes | None:
        """Return an object, None if there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {key}: {error.strerror}") from error

    def held(self, key: str) -> Held | None:
        """Return an object's size and time, None if there is none."""
        try:
            status = self._path(key).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {key}: {error.strerror}") from error
        return Held(status.st_size, status.st_mtime)

    def held_many(self, keys: Iterable[str]) -> dict[str, Held | None]:
        """Do `held` for many keys."""
        return {key: self.held(key) for key in keys}

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix`, in order."""
        base = self._path(prefix.rstrip("/"))
        if not base.is_dir():
            return
        for folder, names, files in os.walk(base):
            names.sort()
            for name in sorted(files):
                yield str((Path(folder) / name).relative_to(self._folder))

    def scan(self, prefix: str) -> Iterator[tuple[str, Held]]:
        """Do `list`, with size and time."""
        for key in self.list(prefix):
            held = self.held(key)
            if held is not None:
                yield key, held

    def refresh(self, key: str) -> bool:
        """Set an object's time to now; False if there is none."""
        try:
            os.utime(self._path(key))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"cannot refresh {key}: {error.strerror}") from error
        return True

    def delete(self, key: str) -> None:
        """Delete an object; no matter if there is none."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot delete {key}: {error.strerror}") from error

    def remove_abandoned(self) -> None:
        """Remove what writers that were killed left behind more than a day ago."""
        for path in (self._folder / _TEMPORARY).glob("*"):
            # A writer that finishes meanwhile, this one's or another replica's, takes its own away.
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        self._writer.write(path, data)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise StoreError(f"not a key of this store: {key[:120]!r}")
        return self._folder / key

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def _store_error(error: OSError, path: Path) -> StoreError:
    explained: StorageError = storage_error(error, path)
    return StoreError(explained.message, hint="free space or mend the permissions; nothing is lost")
