"""What a foreign card may say in words: it is shown on terminals, in reports and in the record."""

import unicodedata
from typing import Any

from client_agent.errors import RefusedError
from ff_protocol.card import Card

_SPACES = {"\n", " "}
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
"""Unicode categories: controls, direction and joining marks, private, surrogate, unassigned."""


def check_text(card: Card) -> None:
    """Refuse characters that are not seen or that change how others are seen.

    Raises:
        RefusedError: naming the field and the character.
    """
    for field, text in _texts("", card.model_dump()):
        for character in text:
            if unicodedata.category(character) in _INVISIBLE and character not in _SPACES:
                raise RefusedError(
                    f"card.json says {ascii(field)[1:-1][:80]} with a character that cannot be "
                    f"seen (U+{ord(character):04X})"
                )


def _texts(field: str, value: Any) -> list[tuple[str, str]]:
    """Every string of a document with the field that it is in; keys too."""
    if isinstance(value, str):
        return [(field, value)]
    if isinstance(value, dict):
        keys = [(field, str(key)) for key in value]
        return keys + [
            item
            for key, part in value.items()
            for item in _texts(f"{field}.{key}".lstrip(".")[-80:], part)
        ]
    if isinstance(value, list | tuple):
        return [item for part in value for item in _texts(field, part)]
    return []
