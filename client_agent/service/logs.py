"""The service's own log: lines for people on standard error, or in a file of bounded size.

Not to be mixed up with the record (registry/log.py), which is evidence, grows by some lines a day,
and is never rotated.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from client_agent.progress import Task
from client_agent.service.notify import ServiceManager
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import storage_error
from ff_protocol.limits import MIB

LOGGER = "client_agent.service"
_MODE = 0o640


class LogFile(RotatingFileHandler):
    """A file that is rotated at a size, and opened anew when someone else has moved it away."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, to the file that has the name now."""
        self._follow()
        super().emit(record)

    def _follow(self) -> None:
        if self.stream is None:
            return
        held = os.fstat(self.stream.fileno())
        try:
            named = os.stat(self.baseFilename)  # noqa: PTH116
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino):
            self.stream.close()
            self.stream = self._open()

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(self.baseFilename, flags, _MODE)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="replace")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = f"{timestamp(utc_now())} {record.levelname.lower()} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up_logs(file: Path | None, mebibytes: float, keep: int, *, quiet: bool) -> logging.Logger:
    """Send the service's log where it belongs.

    Args:
        file: None writes to standard error, which a service manager collects.
        mebibytes: rotate at this size; 0 never does, and leaves it to logrotate.
        keep: number of older files to keep.
        quiet: warnings and errors only.

    Raises:
        StorageError: the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = LogFile(file, maxBytes=int(mebibytes * MIB), backupCount=keep)
        except OSError as error:
            raise storage_error(error, file) from error
    handler.setFormatter(_Lines())
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    return logger


class LoggedProgress:
    """Progress of light work: remarks go to the log, and every step shows that we are alive."""

    def __init__(self, logger: logging.Logger, manager: ServiceManager) -> None:
        self._logger, self._manager = logger, manager

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Begin a piece of work."""
        yield _Beat(self._manager)

    def note(self, text: str) -> None:
        """Log a line."""
        warns = text.startswith(("warning:", "suspicious:"))
        self._logger.log(logging.WARNING if warns else logging.INFO, "%s", text)


class _Beat:
    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager

    def update(self, done: float, text: str = "") -> None:
        """Tell the service manager that the work goes on."""
        self._manager.alive()
