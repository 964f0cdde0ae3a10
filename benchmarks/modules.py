"""Module folders of a wanted size, for measuring the relay: it does not look inside them."""

import os
from pathlib import Path

from ff_protocol.limits import MIB


def random_module(folder: Path, size: int) -> Path:
    """Write the three files; `module.onnx` has `size` random bytes."""
    folder.mkdir(parents=True)
    (folder / "card.json").write_bytes(os.urandom(16).hex().encode())
    (folder / "module.sig").write_bytes(os.urandom(16).hex().encode())
    with (folder / "module.onnx").open("wb") as stream:
        for start in range(0, size, MIB):
            stream.write(os.urandom(min(MIB, size - start)))
    return folder
