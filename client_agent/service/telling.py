"""What the service says of itself: to its log, its manager, `ff-agent status`, and Prometheus."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from client_agent.home import Home
from client_agent.service.faults import kind_of
from client_agent.service.logs import LOGGER
from client_agent.service.notify import ServiceManager
from client_agent.service.record import Fault, ServiceRecord, read_service_record
from client_agent.site import open_site
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import FederatedFactoryError

PUBLISH_SECONDS = 300.0
REPEAT_SECONDS = 900.0
"""A fault that stays is logged so often."""


class Teller:
    """Keeps the service's record up to date and publishes it.

    Attributes:
        record: what is said now.
        log: the service's own log.
        manager: who started the service.
    """

    def __init__(self, home: Home, metrics_file: Path | None, manager: ServiceManager) -> None:
        self.log, self.manager = logging.getLogger(LOGGER), manager
        self._home, self._metrics_file = home, metrics_file
        earlier = read_service_record(home) or ServiceRecord()
        fresh = {"pid": os.getpid(), "started_at": timestamp(utc_now()), "activity": "starting"}
        empty: dict[str, object] = {"errors": {}, "last_error": None, "next_opening": None}
        self.record = earlier.model_copy(update={**fresh, **empty})
        self._published, self._published_at = ServiceRecord(), float("-inf")
        self._complaints: dict[str, tuple[str, float]] = {}

    def say(self, activity: str) -> None:
        """Say what is being done, `WHAT` or `WHAT: REMARK`."""
        self.note({"activity": activity})
        self.manager.status(activity)

    def note(self, changes: Mapping[str, object]) -> None:
        """Change fields of the record."""
        self.record = self.record.model_copy(update=dict(changes))

    def reached(self) -> None:
        """The coordinator has answered."""
        if self._complaints.pop("network", None):
            self.log.info("the coordinator answers again")
        self.note({"last_contact": timestamp(utc_now())})

    def fault(self, error: Exception) -> None:
        """Count a fault, and log it unless it was the last one of its kind a moment ago."""
        foreseen = isinstance(error, FederatedFactoryError | OSError)
        text = error.message if isinstance(error, FederatedFactoryError) else repr(error)
        self.count(kind_of(error), text, None if foreseen else error)

    def count(self, kind: str, text: str, trace: Exception | None = None) -> None:
        """Count a fault under a name of its kind."""
        errors = {**self.record.errors, kind: self.record.errors.get(kind, 0) + 1}
        last = Fault(at=timestamp(utc_now()), kind=kind, message=text[:1000])
        self.note({"errors": errors, "last_error": last})
        said, at = self._complaints.get(kind, ("", float("-inf")))
        if text != said or time.monotonic() - at > REPEAT_SECONDS:
            self._complaints[kind] = text, time.monotonic()
            self.log.error("%s: %s", kind, text, exc_info=trace)

    def publish(self, *, anyway: bool = False) -> None:
        """Write record and metrics if there is something new in them, or they are old.

        Raises:
            StorageError: one of them cannot be written.
        """
        # A bell, and a remark of work under way, are no news for the disk.
        activity = self.record.activity.partition(":")[0]
        news = self.record.model_copy(update={"last_contact": None, "activity": activity})
        now = time.monotonic()
        if not anyway and news == self._published and now - self._published_at < PUBLISH_SECONDS:
            return
        self._published, self._published_at = news, now
        self.record.write(self._home)
        self._write_metrics(running=True)

    def last_words(self) -> None:
        """Say that the service ends; whatever cannot be written any more is left."""
        self.say("stopped")
        self.log.info("stopped")
        with contextlib.suppress(FederatedFactoryError, OSError):
            self.record.write(self._home)
            self._write_metrics(running=False)

    def _write_metrics(self, *, running: bool) -> None:
        if self._metrics_file is None:
            return
        from client_agent.service.metrics import write_metrics
        from client_agent.steps.status import status

        state = status(open_site(self._home))
        state["service"]["running"] = running
        write_metrics(self._metrics_file, state, utc_now())
