"""Writing a bundle: whole or not at all, never over another file."""

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from client_agent.bundle import layout
from client_agent.errors import UsageError
from ff_protocol import canonical
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import storage_error, sync_folder
from ff_protocol.manifest import ALL_FILES


def write_bundle(
    path: Path,
    federation_id: str,
    site_id: str,
    statements: Iterable[bytes],
    modules: Iterable[tuple[str, Path]],
) -> int:
    """Write a bundle; return its size in bytes.

    Args:
        path: must not exist yet.
        federation_id: goes into the label.
        site_id: goes into the label.
        statements: signed envelopes in the order in which they are to be read.
        modules: digests with the folders that hold their three files.

    Raises:
        UsageError: there is something at `path`.
        StorageError: the disk refuses; nothing is left behind.
    """
    if path.exists():
        raise UsageError(f"{path} exists", hint="remove it first, or name another file")
    label = {
        "format": layout.FORMAT,
        "federation": federation_id,
        "site": site_id,
        "created_at": timestamp(utc_now()),
    }
    temporary = path.with_name(f".{path.name}.part")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
        )
        try:
            with os.fdopen(descriptor, "wb") as stream:
                with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                    _add(archive, layout.LABEL, canonical.dumps(label))
                    for envelope in statements:
                        digest = canonical.sha256_hex(envelope)
                        _add(archive, layout.statement_name(digest), envelope)
                    for digest, folder in modules:
                        for name in ALL_FILES:
                            _add_file(archive, layout.file_name(digest, name), folder / name)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.absolute().parent)
    except OSError as error:
        raise storage_error(error, path) from error
    return path.stat().st_size


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_header(name, len(data)), io.BytesIO(data))


def _add_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as stream:
        archive.addfile(_header(name, os.fstat(stream.fileno()).st_size), stream)
