"""JSON in and out: canonical bytes for what is hashed or signed, bounded parsing of the rest.

`loads(dumps(value)) == value` for every value of JSON types whose numbers stay below 2^53.
"""

import hashlib
import json
import math
import re
from typing import Any

import rfc8785

from ff_protocol.errors import MalformedError
from ff_protocol.limits import MAX_JSON_DEPTH


def dumps(value: Any) -> bytes:
    """Serialise to the JSON Canonicalization Scheme (RFC 8785): one value, one byte string.

    Raises:
        MalformedError: the value has no canonical form (NaN, integers beyond 53 bits, ...).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedError(f"value has no canonical JSON form: {error}") from error


def loads(data: bytes, *, max_bytes: int, what: str = "document") -> Any:
    """Parse JSON from an untrusted party.

    Refuses more than `max_bytes`, invalid UTF-8 (halves of surrogate pairs too, which no text
    output takes), duplicate keys, NaN and infinities, numbers that overflow to them, and nesting
    deeper than `MAX_JSON_DEPTH`.

    Raises:
        MalformedError: with the reason.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"{what}: {len(data)} bytes, at most {max_bytes} are accepted")
    if _depth(data) > MAX_JSON_DEPTH:
        raise MalformedError(f"{what}: nested deeper than {MAX_JSON_DEPTH}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{what}: not valid JSON ({error})") from error


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+\\?(?:"|\Z)|[\[{\]}]', re.DOTALL)


def _depth(data: bytes) -> int:
    """Upper bound of the nesting depth, counted on raw bytes before anything is built of them.

    Every quote begins a match, one that is never closed too, so that no byte is looked at twice.
    """
    depth = deepest = 0
    for token in _STRINGS_AND_BRACKETS.finditer(data):
        byte = data[token.start()]
        if byte in (0x5B, 0x7B):
            depth += 1
            deepest = max(deepest, depth)
        elif byte in (0x5D, 0x7D):
            depth -= 1
    return deepest


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"duplicate key {key!r}")
        result[key] = value
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
