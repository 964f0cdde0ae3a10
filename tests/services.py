"""`ff-agent serve` as a process, for as long as a test lasts."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.agents import start_agent


@contextlib.contextmanager
def serving(home: Path, *arguments: object) -> Iterator[Any]:
    """Serve a home; what still runs at the end is killed."""
    process = start_agent(home, "serve", *arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=20)


def until(condition: Callable[[], object], process: Any, seconds: float = 200) -> None:
    """Wait until something has happened while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
