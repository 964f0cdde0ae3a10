"""Traces of networks, made once by whichever process of a test session needs them first.

A trace takes five seconds and is the same in every process, which test_module_export.py checks with
one that knows nothing of this.
"""

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ff_protocol import canonical
from ff_protocol.files import StorageError, write_atomically

if TYPE_CHECKING:
    import onnx

    from client_agent.generator.presets import Preset

FOLDER = "FF_TEST_TRACES"
"""The environment variable that names the session's folder."""


def share_traces() -> None:
    """Have the export of this process, and of what it forks, keep its traces in the folder."""
    if FOLDER not in os.environ:  # outside pytest
        return
    import onnx

    from client_agent.module import export

    folder, make = Path(os.environ[FOLDER]), export.traced_network

    @functools.cache
    def shared(preset: "Preset", opset: int) -> "onnx.ModelProto":
        path = folder / canonical.sha256_hex(repr((preset, opset)).encode())
        if path.is_file():
            return onnx.ModelProto.FromString(path.read_bytes())
        made = make(preset, opset)
        with contextlib.suppress(StorageError):  # a command that is tested with a full disk
            write_atomically(path, made.SerializeToString())
        return made

    export.traced_network = shared
