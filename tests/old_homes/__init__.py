"""Homes made by earlier versions of the programs, for tests of upgrading. See `make.py`."""

import tarfile
from pathlib import Path


def unpack(name: str, folder: Path) -> Path:
    """Unpack `coordinator/`, `hospital-1/` and `hospital-2/` into a folder; return it."""
    with tarfile.open(Path(__file__).with_name(f"{name}.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder
