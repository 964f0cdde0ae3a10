"""What upgrades have set aside: looked at so that revoked modules are forgotten there, too.

Cards there may be of any schema: only the site's name is read.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client_agent.home import Home
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_CARD_BYTES, MAX_ENVELOPE_BYTES
from ff_protocol.manifest import CARD_FILE, describe_module

_FOLDERS = ("admitted", "waiting", "incoming", "outbox")


@dataclass(frozen=True)
class SetAsideModule:
    """A module in a backup. `site_id` is what its card says, empty if it says nothing."""

    digest: str
    site_id: str
    folder: Path


def set_aside_modules(home: Home) -> Iterator[SetAsideModule]:
    """Yield every module in the backups of a home."""
    for old in _olds(home):
        for name in _FOLDERS:
            parent = old / name
            for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
                if folder.is_dir() and not folder.name.startswith("."):
                    digest = _digest(folder) if name == "outbox" else folder.name
                    yield SetAsideModule(digest, _site(folder), folder)


def set_aside_classifiers(home: Home) -> Iterator[tuple[Path, str | None]]:
    """Yield the folder of every classifier in the backups, and the text of its record, if any."""
    for old in _olds(home):
        folder = old / "classifier"
        if not folder.is_dir():
            continue
        try:
            record = read_bounded(folder / "fit.json", MAX_ENVELOPE_BYTES, "fit record")
            yield folder, record.decode("utf-8", errors="replace")
        except (OSError, FederatedFactoryError):
            yield folder, None


def _olds(home: Home) -> list[Path]:
    return sorted(home.backups.glob("format-*/old")) if home.backups.is_dir() else []


def _digest(folder: Path) -> str:
    try:
        return describe_module(folder)[0]
    except (OSError, FederatedFactoryError):
        return folder.name


def _site(folder: Path) -> str:
    try:
        card = json.loads(read_bounded(folder / CARD_FILE, MAX_CARD_BYTES, "card"))
        return str(card["site_id"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, FederatedFactoryError):
        return ""
