"""The server's log on standard error: plain lines for people, JSON lines for collectors."""

import json
import logging
import sys
from typing import Literal

from ff_protocol.clock import timestamp, utc_now

_FIELDS = (
    "method",
    "request_id",
    "site",
    "outcome",
    "milliseconds",
    "bytes_received",
    "bytes_sent",
    "reason",
)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        text = f"{timestamp(utc_now())} {record.levelname.lower()} {record.getMessage()} {fields}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return text.rstrip() + trace


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": timestamp(utc_now()),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def set_up_logs(form: Literal["plain", "json"], *, quiet: bool) -> None:
    """Send the coordinator's log to standard error; warnings only when `quiet`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Plain())
    logger = logging.getLogger("coordinator")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found = {name: getattr(record, name, None) for name in _FIELDS}
    return {name: value for name, value in found.items() if value is not None}
