"""Starting a worker: an interpreter with nothing of the agent's but its lanes.

Workers are started by a thread that lives as long as the agent, since the kernel takes the end of
the thread that started a process for the end of its parent.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import client_agent
from client_agent.errors import ResourceError

_START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from client_agent.sandbox.worker import main; main(sys.argv[1])"
)
_ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    # No thread but its own before it is confined.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")

_starter = ThreadPoolExecutor(1, "sandbox")


def _renew_starter() -> None:
    global _starter
    _starter = ThreadPoolExecutor(1, "sandbox")


os.register_at_fork(after_in_child=_renew_starter)


def launch(order: str, lanes: Sequence[int]) -> "subprocess.Popen[bytes]":
    """Start a worker.

    Args:
        order: from `Order.to_text`.
        lanes: the descriptors it gets.

    Raises:
        ResourceError: this machine cannot start another process.
    """
    own = str(Path(client_agent.__file__).parent.parent)
    path = [entry for entry in sys.path if Path(entry).is_absolute()]
    arguments = [sys.executable, "-I", "-S", "-c", _START, order, *path]
    if own not in path:
        arguments.append(own)
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        return _starter.submit(
            subprocess.Popen[bytes],
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment | _ENVIRONMENT,
            cwd="/",
            pass_fds=lanes,
            start_new_session=True,
        ).result()
    except OSError as error:
        raise ResourceError(
            f"cannot start a process to run a module in: {error.strerror}",
            hint="free memory or raise the limit on processes, then run the same command again",
        ) from error
