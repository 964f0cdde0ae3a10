"""Reading an untrusted ustar archive (POSIX.1-1988) without ever extracting to a path.

Only the table of members is read, from 512-byte headers; data is read later from its offset, by
name. Everything that ustar or its later extensions allow beyond plain files with short names is
refused, so that no link, device, sparse file or long-name record is even interpreted.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from ff_protocol.errors import MalformedError

BLOCK = 512
_RECORD = 20 * BLOCK
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"S": "a sparse file",
}


@dataclass(frozen=True)
class Member:
    """Where a file's bytes lie in the archive."""

    name: str
    offset: int
    size: int


def read_index(
    stream: BinaryIO,
    file_size: int,
    limit_of: Callable[[str], int | None],
    max_members: int,
) -> dict[str, Member]:
    """Read the table of members of an archive from an untrusted party.

    Args:
        stream: the archive, seekable.
        file_size: its size in bytes.
        limit_of: largest size of a member of this name, None if it does not belong.
        max_members: more are refused.

    Raises:
        MalformedError: naming the member and the rule: not a plain file, a name that does not
            belong, a name twice, too large, cut off, or something after the end.
    """
    members: dict[str, Member] = {}
    position = 0
    while True:
        stream.seek(position)
        header = stream.read(BLOCK)
        if len(header) < BLOCK:
            raise MalformedError("the bundle is cut off: it has no end mark")
        if not any(header):
            _check_end(stream, file_size - position)
            return members
        name, size = _parse(header)
        limit = limit_of(name)
        if limit is None:
            raise MalformedError(f"{name[:120]!r} does not belong in a bundle")
        if name in members:
            raise MalformedError(f"{name!r} is in the bundle twice")
        if size > limit:
            raise MalformedError(f"{name!r} has {size} bytes, {limit} are accepted")
        if len(members) == max_members:
            raise MalformedError(f"more than {max_members} files in one bundle")
        end = position + BLOCK + size
        if end > file_size:
            raise MalformedError(f"the bundle is cut off within {name!r}")
        members[name] = Member(name, position + BLOCK, size)
        position = _check_padding(stream, end, name)


def _parse(header: bytes) -> tuple[str, int]:
    shown = repr(header[:100].split(b"\0")[0].decode("ascii", "replace")[:80])
    if header[257:265] != b"ustar\x0000" or _checksum(header) != _number(header[148:156]):
        raise MalformedError("not a bundle, or damaged: a header is not one of a ustar archive")
    kind = header[156:157]
    if kind != b"0" or any(header[157:257]):
        what = _KINDS.get(kind, "no plain file")
        raise MalformedError(f"{shown} is {what}: a bundle holds plain files only")
    name, _, rest = header[:100].partition(b"\0")
    if any(rest) or any(header[345:]) or not name.isascii():
        raise MalformedError(f"{shown}: its name is not one of a bundle's")
    return name.decode("ascii"), _number(header[124:136])


def _number(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if not match:
        raise MalformedError("not a bundle, or damaged: a number is not octal")
    return int(match[1], 8)


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * 0x20 + sum(header[156:])


def _check_padding(stream: BinaryIO, end: int, name: str) -> int:
    padding = -end % BLOCK
    stream.seek(end)
    if any(stream.read(padding)):
        raise MalformedError(f"there is something between {name!r} and what follows")
    return end + padding


def _check_end(stream: BinaryIO, rest: int) -> None:
    if rest < 2 * BLOCK:
        raise MalformedError("the bundle is cut off: its end mark is not whole")
    if rest > _RECORD + BLOCK or any(stream.read(rest)):
        raise MalformedError("something was appended after the end of the bundle")
