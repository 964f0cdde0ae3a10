"""The site's append-only record: one JSON object a line, each holding the hash of the line before.

Editing, removing or reordering a line breaks every later hash. A crash in the middle of a write
leaves a last line without its newline; the next append removes that fragment.

The chain alone cannot show that its newest lines were cut off. Their anchors are outside: the site
signs the record's end into every publication and every heads statement, of which the coordinator
and the other sites hold copies; `verify` takes them as `anchors`.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ff_protocol import canonical
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import ExitCode, FederatedFactoryError
from ff_protocol.files import storage_error
from ff_protocol.heads import RecordHead
from ff_protocol.limits import KIB

GENESIS = "0" * 64
GAP = "record_gap"
_TAIL_BYTES = 64 * KIB


class LogBrokenError(FederatedFactoryError):
    """The record has been edited, cut or reordered."""

    exit_code = ExitCode.IDENTITY
    error_code = "log_broken"


class Log:
    """An append-only, hash-chained record in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: str, **details: Any) -> str:
        """Add one entry, durably; return its hash.

        Args:
            event: lower_snake_case verb in the past tense, for example `module_sent`.
            details: JSON values: digests, counts, names; never a secret or patient data.

        Raises:
            StorageError: the disk refused.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                sequence, previous, end = _end_of(stream)
                entry = {
                    "sequence": sequence + 1,
                    "time": timestamp(utc_now()),
                    "event": event,
                    "details": details,
                    "previous": previous,
                }
                entry["hash"] = _hash(entry)
                stream.seek(end)
                stream.truncate()
                stream.write(canonical.dumps(entry) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
                return str(entry["hash"])
        except OSError as error:
            raise storage_error(error, self.path) from error

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries in order, without checking the chain."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def contains(self, anchor: RecordHead) -> bool:
        """Say whether a line that this site has signed for is still here."""
        return any(
            (entry["sequence"], entry["hash"]) == (anchor.sequence, anchor.digest)
            for entry in self.entries()
        )

    def head(self) -> RecordHead | None:
        """Return number and hash of the last entry, None if there is none."""
        data = self.path.read_bytes() if self.path.exists() else b""
        sequence, digest, _ = _tail(data)
        return RecordHead(sequence, digest) if sequence else None

    def verify(self, anchors: Iterable[RecordHead] = ()) -> int:
        """Check the whole chain; return the number of entries.

        Args:
            anchors: ends of this record that the site has signed at some time.

        Raises:
            LogBrokenError: naming the first line that does not fit.
        """
        expected = {anchor.sequence: anchor.digest for anchor in anchors}
        previous, count = GENESIS, 0
        lost: list[int] = []
        for count, line in enumerate(self._lines(), start=1):
            try:
                entry = json.loads(line)
                fits = (
                    entry["sequence"] == count
                    and entry["previous"] == previous
                    and entry["hash"] == _hash(entry)
                    and canonical.dumps(entry) == line
                    and expected.pop(count, entry["hash"]) == entry["hash"]
                )
            except (ValueError, KeyError, TypeError, FederatedFactoryError):
                fits = False
            if not fits:
                raise LogBrokenError(
                    f"{self.path.name}: line {count} was edited, removed or moved",
                    hint="restore the file from a backup; do not trust entries from this line on",
                )
            previous = entry["hash"]
            if entry["event"] == GAP:
                lost.append(int(entry["details"]["sequence"]))
        if lost:
            raise LogBrokenError(
                f"{self.path.name}: its end was cut off once: line {lost[0]}, for which this site "
                "had signed, is not the one that is here",
                hint="restore the file from a backup; the lines that are here are whole",
            )
        if expected:
            raise LogBrokenError(
                f"{self.path.name}: it ends at line {count}, this site has signed for line "
                f"{max(expected)}: its end was cut off",
                hint="restore the file from a backup",
            )
        return count

    def _lines(self) -> list[bytes]:
        data = self.path.read_bytes() if self.path.exists() else b""
        return data.split(b"\n")[:-1]


def _end_of(stream: BinaryIO) -> tuple[int, str, int]:
    """Do `_tail` for a file, of which only the last lines are read where they are short enough."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    stream.seek(start)
    data = stream.read()
    if start and data.count(b"\n") < 2:  # the last whole line may begin before
        stream.seek(0)
        start, data = 0, stream.read()
    sequence, digest, end = _tail(data)
    return sequence, digest, start + end


def _tail(data: bytes) -> tuple[int, str, int]:
    """Return sequence and hash of the last whole line, and where it ends."""
    end = data.rfind(b"\n") + 1
    if end == 0:
        return 0, GENESIS, 0
    try:
        last = json.loads(data[data.rfind(b"\n", 0, end - 1) + 1 : end])
        return int(last["sequence"]), str(last["hash"]), end
    except (ValueError, KeyError, TypeError) as error:
        raise LogBrokenError(
            "log.jsonl: the last line was edited", hint="restore the file from a backup"
        ) from error


def _hash(entry: dict[str, Any]) -> str:
    return canonical.sha256_hex(
        canonical.dumps({key: value for key, value in entry.items() if key != "hash"})
    )
