"""Homes made by earlier versions of the programs, for tests of upgrading. See `make.py`."""

import tarfile
from pathlib import Path


def unpack(name: str, folder: Path) -> Path:
    """Unpack `coordinator/`, `hospital-1/` and `hospital-2/` into a folder; return it."""
    with tarfile.open(Path(__file__).with_name(f"{name}.tar.xz")) as archive:
        # Debian 12's Python 3.11.2 has no filters yet.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(folder)
    return folder
