"""Listening for the coordinator's bell in a thread of its own, over every interruption."""

import contextlib
import random
import threading
import time

from client_agent.home import Home
from client_agent.relay.connection import open_relay
from client_agent.service.events import Events, Rang, Reached, Unreached
from client_agent.service.faults import is_lasting
from client_agent.site import open_site
from ff_protocol.stopping import stop_requested

LONGEST_PAUSE_SECONDS = 30.0
LASTING_PAUSE_SECONDS = 2.0
AGAIN_SECONDS = 10.0
RING_PAUSE_SECONDS = 0.25
END_SECONDS = 5.0


class Listener(threading.Thread):
    """Tells of every head that differs from the last one, and of every fault.

    Nothing is missed while it is not connected: the first head after every connection counts as
    news. The home is opened anew each time, so that a new certificate or address is used.
    """

    def __init__(self, home: Home, events: Events) -> None:
        super().__init__(name="listener", daemon=True)
        self._home, self._events = home, events
        self._ended = threading.Event()
        self._connection = contextlib.ExitStack()

    def end(self) -> None:
        """Close the connection, which ends the thread."""
        self._ended.set()
        with contextlib.suppress(Exception):  # what is being closed may be closing itself
            self._connection.close()
        if self.is_alive():
            self.join(END_SECONDS)

    def run(self) -> None:
        """Listen until the end."""
        seen, faults = None, 0
        while not self._ended.is_set():
            began, pause = time.monotonic(), 0.0
            try:
                with contextlib.ExitStack() as self._connection:
                    relay = self._connection.enter_context(open_relay(open_site(self._home)))
                    for head in relay.watch(None):
                        if self._ended.is_set():
                            return
                        self._events.put(Reached())
                        if head != seen:
                            self._events.put(Rang())
                            self._ended.wait(RING_PAUSE_SECONDS)  # or a bell could fill the queue
                        seen, faults = head, 0
            except Exception as error:
                if self._ended.is_set() or stop_requested():
                    return
                seen, faults = None, faults + 1
                self._events.put(Unreached(error))
                pause = random.uniform(0.25, 1) * min(LONGEST_PAUSE_SECONDS, 2.0**faults)  # noqa: S311
                if is_lasting(error):
                    pause = LASTING_PAUSE_SECONDS
            else:
                # Sent away at once: the coordinator has watchers enough, so look now and then.
                if time.monotonic() - began < AGAIN_SECONDS:
                    pause = random.uniform(0.5, 1) * AGAIN_SECONDS  # noqa: S311
            self._ended.wait(pause)
