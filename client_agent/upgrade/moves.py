"""Carrying out a plan such that a kill at any time leaves a home that the same command completes.

    backups/format-<n>/old/    what was set aside or replaced when format n was left
    backups/format-<n>/new/    files with new contents, until they are put in their places
    backups/format-<n>/note.json    what was done
    upgrade.json               the journal: a list of moves, there while they are carried out

Everything is staged first: new contents are written and old ones copied into the backup, all of it
synced. Then the journal appears in one rename: before it the home is as it was, after it the moves
are carried out, by this command or by the next one. Each move is one rename or one deletion and can
be repeated. On the way up `site.yaml` is the first to be replaced, on the way back the last, so
that a program of the lower format never works in a home that is half of the higher one.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from client_agent.home import Home
from client_agent.upgrade.plan import Plan, Write
from ff_protocol import __version__, canonical
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded, storage_error, sync_folder, write_atomically
from ff_protocol.limits import MIB

MAX_JOURNAL_BYTES = 64 * MIB
Kind = Literal["move", "replace", "drop"]


@dataclass(frozen=True)
class Move:
    """One operation on the disk; paths are below the home.

    Attributes:
        kind: `move` a file or folder to where nothing is; `replace` a file; `drop` what is there.
        source: what is moved or dropped.
        target: where to; empty for `drop`.
    """

    kind: Kind
    source: str
    target: str = ""


@dataclass(frozen=True)
class Journal:
    """What is under way.

    Attributes:
        source, target: formats.
        moves: in order.
        details: of the line that the record gets at the end.
    """

    source: int
    target: int
    moves: tuple[Move, ...]
    details: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Serialise canonically."""
        return canonical.dumps(
            {
                "source": self.source,
                "target": self.target,
                "moves": [[move.kind, move.source, move.target] for move in self.moves],
                "details": self.details,
            }
        )


def read_journal(home: Home) -> Journal | None:
    """Return the journal, None if nothing is under way.

    Raises:
        MalformedError: it is damaged.
    """
    try:
        data = read_bounded(home.upgrade_journal, MAX_JOURNAL_BYTES, "journal")
    except FileNotFoundError:
        return None
    value = canonical.loads(data, max_bytes=MAX_JOURNAL_BYTES, what="upgrade.json")
    try:
        moves = tuple(Move(*entry) for entry in value["moves"])
        return Journal(value["source"], value["target"], moves, value["details"])
    except (KeyError, TypeError) as error:
        raise MalformedError("upgrade.json is damaged: restore the home from a backup") from error


def stage(home: Home, plan: Plan, source: int, target: int) -> Journal:
    """Write all that is new and copy all that will be replaced; nothing in use changes.

    What was set aside when the home was last of format `target` comes back in the same go.

    Args:
        home: whose lock is held.
        plan: what is to be done.
        source, target: formats.

    Raises:
        StorageError: the disk refused; the home is as it was.
    """
    backup = home.backup(source)
    details = {
        "source": source,
        "target": target,
        "program": __version__,
        "set_aside": sorted(item.path for item in plan.set_aside),
    }
    note = canonical.dumps({**details, "kept": sorted(plan.kept)})
    try:
        shutil.rmtree(backup, ignore_errors=True)
        for write in (plan.site_file, *plan.writes):
            write_atomically(backup / "new" / write.path, write.data, write.mode)
            if (home.root / write.path).is_file():
                _copy_durably(home.root / write.path, backup / "old" / write.path)
        write_atomically(backup / "note.json", note)
        for folder in (backup / "new", backup, backup.parent, home.root):
            sync_folder(folder)
    except OSError as error:
        raise storage_error(error, backup) from error
    return Journal(source, target, _moves(home, plan, source, target), details)


def read_note(home: Home, version: int) -> dict[str, Any]:
    """Return what was noted when a format was left; empty if it never was.

    Raises:
        MalformedError: the note is damaged.
    """
    path = home.backup(version) / "note.json"
    try:
        data = read_bounded(path, MAX_JOURNAL_BYTES, "note")
    except FileNotFoundError:
        return {}
    value: dict[str, Any] = canonical.loads(data, max_bytes=MAX_JOURNAL_BYTES, what=path.name)
    return value


def _moves(home: Home, plan: Plan, source: int, target: int) -> tuple[Move, ...]:
    ours, theirs = f"backups/format-{source}", f"backups/format-{target}"
    site = _put(ours, plan.site_file)
    returning = read_note(home, target).get("set_aside", [])
    return (
        *([site] if target > source else ()),
        *(Move("move", item.path, f"{ours}/old/{item.path}") for item in plan.set_aside),
        *(Move("drop", item.path) for item in plan.dropped),
        *(Move("move", f"{theirs}/old/{path}", path) for path in returning),
        *(_put(ours, write) for write in plan.writes),
        Move("drop", theirs),
        *([site] if target < source else ()),
        Move("drop", f"{ours}/new"),
    )


def _put(prefix: str, write: Write) -> Move:
    return Move("replace", f"{prefix}/new/{write.path}", write.path)


def carry_out(home: Home, journal: Journal) -> None:
    """Do what the journal says, from the beginning; what is done already is passed over.

    Raises:
        StorageError: the disk refused; the same command goes on.
    """
    for move in journal.moves:
        source = home.root / move.source
        try:
            _do(move, source, home.root / move.target)
        except OSError as error:
            raise storage_error(error, source) from error


def end(home: Home) -> None:
    """Take the journal away: everything is done."""
    try:
        home.upgrade_journal.unlink(missing_ok=True)
        sync_folder(home.root)
    except OSError as error:
        raise storage_error(error, home.upgrade_journal) from error


def _do(move: Move, source: Path, target: Path) -> None:
    if not os.path.lexists(source):
        return
    if move.kind == "drop":
        shutil.rmtree(source) if source.is_dir() else source.unlink()
        sync_folder(source.parent)
        return
    if move.kind == "move" and os.path.lexists(target):
        return  # it was moved before, and something else has been put in its place since
    _make_folder(target.parent)
    source.replace(target)
    sync_folder(target.parent)
    sync_folder(source.parent)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _copy_durably(source: Path, target: Path) -> None:
    _make_folder(target.parent)
    shutil.copy2(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
    sync_folder(target.parent)
