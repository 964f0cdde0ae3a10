"""Cards of modules on offer: what this site needs to choose among them before it fetches any.

A card is believed as far as its publisher's signature over the publication goes, which names its
SHA-256. Modules that are here have theirs beside them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from client_agent.home import Home
from ff_protocol.card import Card, parse_card
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_CARD_BYTES
from ff_protocol.manifest import CARD_FILE
from ff_protocol.statements import Publication


def offered_card(home: Home, publication: Publication) -> Card | None:
    """Return the card of a module that was published, None if it is not here.

    A file that is not the one published counts as absent.

    Raises:
        MalformedError: the publisher signed for something that is no card.
    """
    digest = publication.module
    places = (home.card(digest), *(folder(digest) / CARD_FILE for folder in _folders(home)))
    for path in places:
        if path.is_file():
            data = read_bounded(path, MAX_CARD_BYTES, "card")
            if is_card_of(publication, data):
                return parse_card(data)
    return None


def is_card_of(publication: Publication, data: bytes) -> bool:
    """Say whether these bytes are the card that a publication names."""
    return hashlib.sha256(data).hexdigest() == publication.files[CARD_FILE].sha256


def store_card(home: Home, publication: Publication, data: bytes) -> None:
    """Keep a card that `is_card_of` its publication."""
    write_atomically(home.card(publication.module), data)


def forget_cards(home: Home, kept: frozenset[str]) -> None:
    """Delete the cards of all modules but these."""
    folder = home.root / "cards"
    for path in folder.glob("*.json") if folder.is_dir() else ():
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def _folders(home: Home) -> tuple[Callable[[str], Path], ...]:
    return home.admitted, home.waiting, home.incoming
