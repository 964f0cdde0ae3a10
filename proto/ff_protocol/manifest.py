"""What a module is on the wire: its closed set of files, its identity, its chunks.

The identity (`module_digest`) covers `module.onnx` and `card.json`. The signature `module.sig`
travels with them and is outside the identity: signing again does not make another module.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.limits import CHUNK_BYTES, MAX_CARD_BYTES, MAX_SIGNATURE_BYTES
from ff_protocol.names import check_digest

MODULE_FILE = "module.onnx"
CARD_FILE = "card.json"
SIGNATURE_FILE = "module.sig"
SIGNED_FILES = (CARD_FILE, MODULE_FILE)
ALL_FILES = (CARD_FILE, MODULE_FILE, SIGNATURE_FILE)


@dataclass(frozen=True)
class FileEntry:
    """One file of a module: its fixed name, size in bytes, SHA-256, and its chunks' SHA-256s."""

    name: str
    size: int
    sha256: str
    chunks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form used in a publication."""
        return {
            "name": self.name,
            "size": self.size,
            "sha256": self.sha256,
            "chunks": list(self.chunks),
        }


def describe_file(path: Path, chunk_bytes: int = CHUNK_BYTES) -> FileEntry:
    """Hash a file chunk by chunk; memory stays at one chunk whatever the file's size."""
    whole = hashlib.sha256()
    chunks: list[str] = []
    size = 0
    for chunk in iterate_chunks(path, chunk_bytes):
        whole.update(chunk)
        chunks.append(canonical.sha256_hex(chunk))
        size += len(chunk)
    return FileEntry(path.name, size, whole.hexdigest(), tuple(chunks))


def iterate_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the file's bytes in pieces of `chunk_bytes`, the last one shorter."""
    with path.open("rb") as stream:
        while chunk := stream.read(chunk_bytes):
            yield chunk


def module_digest(entries: dict[str, FileEntry]) -> str:
    """Return a module's identity: SHA-256 of the canonical manifest of its signed files.

    Args:
        entries: at least `module.onnx` and `card.json`, by name.
    """
    files = [
        {"name": name, "size": entries[name].size, "sha256": entries[name].sha256}
        for name in SIGNED_FILES
    ]
    return canonical.sha256_hex(canonical.dumps({"files": files, "format": "ff-module/1"}))


def describe_module(folder: Path) -> tuple[str, dict[str, FileEntry]]:
    """Hash the three files of a module folder.

    Returns:
        The module digest and the entries by name.

    Raises:
        MalformedError: the folder holds anything but exactly the three regular files.
    """
    found = sorted(entry.name for entry in folder.iterdir())
    if found != sorted(ALL_FILES):
        raise MalformedError(
            f"a module holds exactly {', '.join(ALL_FILES)}; {folder.name} has {', '.join(found)}"
        )
    for name in ALL_FILES:
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise MalformedError(f"{folder.name}/{name} is not a regular file")
    entries = {name: describe_file(folder / name) for name in ALL_FILES}
    return module_digest(entries), entries


def parse_entries(value: Any, *, max_module_bytes: int) -> dict[str, FileEntry]:
    """Check the `files` list of a publication from an untrusted party.

    Raises:
        MalformedError: not exactly the three files, sizes above the limits, or a chunk list
            that does not fit the size.
    """
    if not isinstance(value, list) or len(value) != len(ALL_FILES):
        raise MalformedError(f"a publication lists exactly {len(ALL_FILES)} files")
    limits = {
        MODULE_FILE: max_module_bytes,
        CARD_FILE: MAX_CARD_BYTES,
        SIGNATURE_FILE: MAX_SIGNATURE_BYTES,
    }
    entries: dict[str, FileEntry] = {}
    for item in value:
        if not isinstance(item, dict) or set(item) != {"name", "size", "sha256", "chunks"}:
            raise MalformedError("a file entry has exactly name, size, sha256 and chunks")
        name, size, chunks = item["name"], item["size"], item["chunks"]
        if name not in limits or name in entries:
            raise MalformedError(f"file {str(name)[:80]!r} does not belong in a module")
        if type(size) is not int or not 0 < size <= limits[name]:
            raise MalformedError(f"{name}: size {size!r}, allowed are 1 to {limits[name]} bytes")
        if not isinstance(chunks, list) or len(chunks) != -(-size // CHUNK_BYTES):
            raise MalformedError(f"{name}: its chunk list does not fit its size")
        digests = tuple(check_digest(str(digest)) for digest in chunks)
        entries[name] = FileEntry(name, size, check_digest(str(item["sha256"])), digests)
    return entries


def expected_chunk_size(entry: FileEntry, index: int) -> int:
    """Return the number of bytes that chunk `index` of `entry` must have."""
    return min(CHUNK_BYTES, entry.size - index * CHUNK_BYTES)
