"""Ctrl-C and SIGTERM as KeyboardInterrupt, but never inside what cannot bear it.

Python raises a signal's exception in the main thread between any two bytecodes. Inside gRPC that
may leave a lock taken for ever, so that closing the channel waits for ever; inside cryptography's
verifier it comes out as "signature does not match". Such calls are made with `held`.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

Thing = TypeVar("Thing")

_AGAIN_SECONDS = 0.01


class _Held(contextlib.ContextDecorator):
    """What runs with this is not interrupted; a stop that comes meanwhile is raised at its end.

    For calls that take milliseconds. May be nested, and means nothing in other threads, which
    signals never reach.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._came = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth -= 1
            if self._came and not self._depth:
                self._came = False
                raise KeyboardInterrupt

    def stop(self) -> None:
        """Raise KeyboardInterrupt, or have it raised as soon as nothing is held."""
        if not self._depth:
            raise KeyboardInterrupt
        self._came = True


held = _Held()
_requested = False


@contextlib.contextmanager
def opened(make: Callable[[], Thing], end: Callable[[Thing], object]) -> Iterator[Thing]:
    """Give what `make` returns and `end` it, both held: a stop between the two loses nothing.

    Args:
        make: returns in milliseconds.
        end: likewise; always called, if there is anything to end.
    """
    made: list[Thing] = []
    try:
        with held:
            made.append(make())
        yield made[0]
    finally:
        with held:
            while made:
                end(made.pop())


def listen_for_stop() -> None:
    """Treat a service manager's stop like Ctrl-C: checkpoints are written, locks released."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _raise_again


def stop_requested() -> bool:
    """Say whether a stop has been asked for: its exception may have been lost inside a library."""
    return _requested


def raise_if_stopped() -> None:
    """End here if a stop has been asked for: a fault found since then may be the stop's own.

    Raises:
        KeyboardInterrupt: it has been asked for.
    """
    if _requested:
        raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = True
    held.stop()


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Give a stop that came inside a finaliser, where exceptions are lost, another chance."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    main = threading.main_thread().ident
    # A real signal, which also ends a wait in the main thread.
    again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main, signal.SIGTERM))
    again.daemon = True
    with contextlib.suppress(RuntimeError):  # no thread is started when the interpreter ends
        again.start()
