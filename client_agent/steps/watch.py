"""Receive whatever is published, as it is published, until told to stop."""

import random
import time
from collections.abc import Callable

from client_agent.errors import NetworkError
from client_agent.progress import SILENT, Progress
from client_agent.relay.client import RelayClient
from client_agent.relay.connection import open_relay
from client_agent.site import Site
from client_agent.steps.receive import Received, take_from_relay
from client_agent.steps.renew import renew_if_due, validity
from ff_protocol.clock import utc_now

LONGEST_PAUSE_SECONDS = 30.0
AGAIN_SECONDS = 10.0


def watch(
    site: Site,
    on_received: Callable[[Received], None],
    *,
    until: float | None = None,
    progress: Progress = SILENT,
) -> Received:
    """Receive at once and then at every ring of the coordinator.

    Any replica will do, and any may be replaced: nothing is missed, since the first thing after
    every connection is to ask for what is new. The home is locked while something is received only;
    a command that is at work in it is waited for.

    Args:
        site: who watches.
        on_received: called, with the home locked, after each time that something came.
        until: moment on the monotonic clock to stop at; None goes on until Ctrl-C or SIGTERM.
        progress: watches.

    Returns:
        All that came. Ctrl-C and SIGTERM are the ordinary end, not a fault.

    Raises:
        NetworkError, IdentityError: faults that will not pass; others are waited out.
    """
    total = Received()
    seen, faults, first = b"", 0, True
    try:
        while (left := _left(until)) is None or left > 0:
            began = time.monotonic()
            try:
                with open_relay(site) as relay:
                    if any(item.due for item in validity(site, utc_now()).values()):
                        with site.exclusive(wait=True):
                            renew_if_due(site, relay, progress)
                    for head in relay.watch(left):
                        if head != seen:
                            _take(site, relay, total, on_received, progress, first=first)
                            first = False
                        seen, faults = head, 0
            except NetworkError as error:
                if not error.transient:
                    raise
                faults += 1
                progress.note(f"{error.message}; trying again")
                _pause(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 2.0**faults)), until)  # noqa: S311
            else:
                # Sent away at once: the coordinator has watchers enough, so look now and then.
                if time.monotonic() - began < AGAIN_SECONDS:
                    _pause(random.uniform(0.5, 1) * AGAIN_SECONDS, until)  # noqa: S311
    except KeyboardInterrupt:
        progress.note("stopped watching; what came is kept")
    return total


def _take(
    site: Site,
    relay: RelayClient,
    total: Received,
    on_received: Callable[[Received], None],
    progress: Progress,
    *,
    first: bool,
) -> None:
    received = Received()
    with site.exclusive(wait=True):
        try:
            take_from_relay(site, relay, received, progress, first=first)
        finally:
            total.add(received)
        came = received.admitted or received.waiting or received.refused
        if came or received.revocations or received.pending:
            on_received(received)


def _left(until: float | None) -> float | None:
    return None if until is None else until - time.monotonic()


def _pause(seconds: float, until: float | None) -> None:
    left = _left(until)
    time.sleep(seconds if left is None else max(0.0, min(seconds, left)))
