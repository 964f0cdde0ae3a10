"""Attacks by the card: lies about the module, text that deceives, JSON that parsers differ on."""

import json
from collections.abc import Callable
from typing import Any

from ff_protocol import canonical
from tests.hostile.attack import Attack, Values


def _saying(**changes: Any) -> Callable[[Values], bytes]:
    return lambda card: canonical.dumps(card | changes)


def _text(old: str, new: str) -> Callable[[Values], bytes]:
    """The honest card with a piece of its text replaced."""

    def build(card: Values) -> bytes:
        text = json.dumps(card)
        assert old in text
        return text.replace(old, new, 1).encode()

    return build


def _deep(card: Values) -> bytes:
    return b'{"x":' * 20_000 + b"1" + b"}" * 20_000


def _cannot_be_seen(name: str, character: str) -> Attack:
    return Attack(
        f"a card with {name}",
        f"cannot be seen .U.{ord(character):04X}",
        card=_saying(terms_of_use=f"free {character}for all"),
    )


CARDS = (
    Attack("a card of another class", "class_name", card=_saying(class_name="one")),
    Attack("a card of a class that is none", "class_name", card=_saying(class_name="nine")),
    Attack(
        "a card of a class that looks the same",
        r'class_name is "z\\u0435ro"',
        card=_saying(class_name="z\u0435ro"),
    ),
    Attack(
        "a card of a class written wide",
        r"class_name is .\\uff5aero",
        card=_saying(class_name="\uff5aero"),
    ),
    Attack("a card of another place in the list", "class_index", card=_saying(class_index=1)),
    Attack("a card of another site", "site_id", card=_saying(site_id="hospital-2")),
    Attack("a card of another federation", "federation_id", card=_saying(federation_id="other")),
    Attack("a card of other images", "image", card=_saying(image={"size": 16, "channels": 1})),
    Attack("a card of a later version", "schema_version", card=_saying(schema_version=99)),
    Attack("a card that says more", "unknown key", card=_saying(admit=True)),
    Attack(
        "a card that counts patients",
        "training",
        card=_saying(training={"images": "713", "steps": 1, "seconds": 1, "device": "cpu"}),
    ),
    Attack("a card that is a list", "expected keys and values", card=lambda card: b"[]"),
    Attack("a card without end", "larger than", card=_saying(terms_of_use="x" * 10**6)),
    Attack("a card as deep as it is long", "larger than", card=_deep),
    Attack(
        "a card nested within the size",
        "nested deeper",
        card=lambda card: b"[" * 30_000 + b"]" * 30_000,
    ),
    Attack("a card with a key twice", "duplicate key", card=_text("{", '{"class_name": "one", ')),
    Attack("a card with NaN", "NaN is not JSON", card=_text("0.5", "NaN")),
    Attack("a card with infinity", "not valid JSON", card=_text("0.5", "1e999")),
    Attack(
        "a card with a number of 20,000 digits", "not valid JSON", card=_text("0.5", "9" * 20_000)
    ),
    Attack("a card in another encoding", "not valid JSON", card=lambda card: b"\xff\xfe{\x00}\x00"),
    Attack(
        "a card with a mark before it",
        "not valid JSON",
        card=lambda card: b"\xef\xbb\xbf" + canonical.dumps(card),
    ),
    Attack(
        "a card with half a character",
        "surrogates not allowed",
        card=_text("within the federation only", "\\ud800"),
    ),
    Attack(
        "a card with something after it",
        "not valid JSON",
        card=lambda c: canonical.dumps(c) + b"{}",
    ),
    _cannot_be_seen("commands for a terminal", "\x1b"),
    _cannot_be_seen("text that runs backwards", "\u202e"),
    _cannot_be_seen("a character of no width", "\u200b"),
    _cannot_be_seen("a zero", "\0"),
    Attack(
        "a card whose software is a command",
        "software.*U.001B",
        card=_saying(software={"torch\x1b[2J": "2"}),
    ),
)
