"""Ending a stream that stands still: gRPC's deadlines bound a whole call, not a pause in it."""

import threading
from collections.abc import Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


def watched(call: Any, stall_seconds: float) -> Iterator[Any]:
    """Yield what a streaming call yields; cancel it if the next message takes too long.

    The time that the consumer takes between two messages does not count.

    Args:
        call: a gRPC streaming call.
        stall_seconds: the longest wait for a message.

    Raises:
        grpc.RpcError: from the call.
        StalledError: cancelled here.
    """
    messages = iter(call)
    while True:
        fired = threading.Event()

        def cancel(fired: threading.Event = fired) -> None:
            fired.set()
            call.cancel()

        timer = threading.Timer(stall_seconds, cancel)
        timer.daemon = True
        timer.start()
        try:
            message = next(messages)
        except StopIteration:
            return
        except Exception as error:
            if fired.is_set():
                raise StalledError(stall_seconds) from error
            raise
        finally:
            timer.cancel()
        yield message


class StalledError(Exception):
    """No message came in time."""
