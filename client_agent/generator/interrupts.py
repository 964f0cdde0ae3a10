"""Being stopped between two training steps, never in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """Hold the first Ctrl-C or SIGTERM until the running step is whole; a second stops at once.

    A step changes weights, average and optimiser one after the other: cut in the middle it would
    leave a checkpoint that never existed in an undisturbed run.

    Yields:
        An event that is set once a stop has been asked for.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested  # signals only ever reach the main thread
        return
    # A signal that is ignored, or was not installed from Python, is left so.
    before = {
        number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        requested.set()
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield requested
    finally:
        restore()
