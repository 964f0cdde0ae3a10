"""Telling systemd how the service is: the protocol of sd_notify(3), a datagram to a socket.

Nothing happens where NOTIFY_SOCKET is not set.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping

_MAX_STATUS_BYTES = 2048


class ServiceManager:
    """The one who started this process and watches it."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take socket and watchdog from the environment, as systemd gives them."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        mine = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        every = environment.get("WATCHDOG_USEC", "") if mine else ""
        # Half the time allowed, as the manual advises.
        self._pause = int(every) / 2e6 if every.isascii() and every.isdigit() else None
        self._next = 0.0
        self._status = ""

    def ready(self) -> None:
        """Say that the start is over."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in a line what goes on; `systemctl status` shows it."""
        line = " ".join(text.split()).encode()[:_MAX_STATUS_BYTES].decode(errors="ignore")
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Say that the main thread still goes on, as often as the watchdog wants to hear it."""
        now = time.monotonic()
        if self._pause is not None and now >= self._next:
            self._next = now + self._pause
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A service manager that does not listen is no reason to stop.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client,
        ):
            client.sendto(text.encode(), self._address)
