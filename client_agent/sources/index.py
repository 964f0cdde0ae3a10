"""What is known of files already: header summaries by path, size and time of change, in SQLite.

A cache: it may be deleted at any time, and a damaged or foreign one is made anew. It holds no path
and no patient: paths and patients are hashes in it (`headers.Header`). Mode 0600.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from client_agent.sources.headers import Header
from client_agent.sources.tree import FileEntry

_VERSION = 1
_SETTLED_NS = 2_000_000_000
"""A file changed this short a while ago may change again within one tick of its clock."""

Known = Mapping[bytes, tuple[int, int, str]]


class HeaderIndex:
    """An index file; every fault of it means "nothing known", never a fault of the command."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, source: str) -> "KnownHeaders":
        """Return what is known of a source, an absolute path or an address."""
        key = _digest(source)
        try:
            connection = self._connect()
            try:
                rows = connection.execute(
                    "SELECT path, size, changed, header FROM headers WHERE source = ?", (key,)
                ).fetchall()
            finally:
                connection.close()
        except (OSError, sqlite3.Error):
            rows = []
        return KnownHeaders({path: (size, changed, text) for path, size, changed, text in rows})

    def store(
        self, source: str, read: Iterable[tuple[FileEntry, Header]], gone: Iterable[bytes]
    ) -> bool:
        """Add headers and drop those of files that are gone; False if the disk refuses."""
        key, now = _digest(source), time.time_ns()
        rows = [
            (key, _digest(entry.relative), entry.size, entry.mtime_ns, json.dumps(header.to_row()))
            for entry, header in read
            if now - entry.mtime_ns > _SETTLED_NS
        ]
        try:
            connection = self._connect()
            try:
                with connection:
                    connection.executemany(
                        "DELETE FROM headers WHERE source = ? AND path = ?",
                        [(key, path) for path in gone],
                    )
                    connection.executemany(
                        "INSERT OR REPLACE INTO headers VALUES (?, ?, ?, ?, ?)", rows
                    )
            finally:
                connection.close()
        except (OSError, sqlite3.Error):
            return False
        return True

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, read-only
                raise
            self._path.unlink()
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5.0)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("PRAGMA synchronous = OFF")  # a cache need not survive a power cut
            if version != _VERSION:
                connection.execute("DROP TABLE IF EXISTS headers")
                connection.execute(
                    "CREATE TABLE headers (source BLOB, path BLOB, size INTEGER, changed INTEGER, "
                    "header TEXT, PRIMARY KEY (source, path)) WITHOUT ROWID"
                )
                connection.execute(f"PRAGMA user_version = {_VERSION:d}")
                connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection


class KnownHeaders:
    """What an index said about one source when it was asked."""

    def __init__(self, rows: Known) -> None:
        self._rows = rows
        self._met: set[bytes] = set()

    def find(self, entry: FileEntry) -> Header | None:
        """Return the header of a file that has not changed since, None if it must be read."""
        key = _digest(entry.relative)
        row = self._rows.get(key)
        self._met.add(key)
        if row is None or row[:2] != (entry.size, entry.mtime_ns):
            return None
        try:
            return Header.from_row(json.loads(row[2]))
        except (ValueError, TypeError):
            return None

    def gone(self) -> list[bytes]:
        """Return the keys of files that were not asked for: they are no longer there."""
        return [key for key in self._rows if key not in self._met]


def cached_index() -> Path:
    """Return where the index lies for whoever has no home: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(cache) / "federated-factory" / "scan-index.sqlite"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:16]
