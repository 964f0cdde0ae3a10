"""What a bundle is: a plain ustar archive with nothing in it but these regular files.

    bundle.json                          which federation, made by whom, when (not signed: a label)
    statements/<sha256>.dsse             signed revocations in order, then publications
    modules/<digest>/module.onnx         and card.json and module.sig, as published

Any tar can list it. Nothing in it is trusted for being in it.
"""

import re

from ff_protocol.limits import KIB, MAX_CARD_BYTES, MAX_ENVELOPE_BYTES, MAX_SIGNATURE_BYTES, MIB
from ff_protocol.manifest import CARD_FILE, MODULE_FILE, SIGNATURE_FILE

FORMAT = "ff-bundle/1"
LABEL = "bundle.json"
MAX_LABEL_BYTES = 4 * KIB
MAX_MEMBERS = 50_000
MAX_STATEMENT_BYTES = 256 * MIB
"""All statements together: what they take to verify bounds the time that an import takes."""

_STATEMENT = re.compile(r"statements/([0-9a-f]{64})\.dsse", re.ASCII)
_FILE = re.compile(r"modules/([0-9a-f]{64})/(module\.onnx|card\.json|module\.sig)", re.ASCII)


def statement_name(digest: str) -> str:
    """Member name of the statement whose envelope has this SHA-256."""
    return f"statements/{digest}.dsse"


def file_name(module: str, name: str) -> str:
    """Member name of a module's file."""
    return f"modules/{module}/{name}"


def statement_digest(name: str) -> str | None:
    """Return the SHA-256 that a statement's member name carries; None for other members."""
    match = _STATEMENT.fullmatch(name)
    return match[1] if match else None


def module_digest(name: str) -> str | None:
    """Return the module that a member is a file of; None for other members."""
    match = _FILE.fullmatch(name)
    return match[1] if match else None


def size_limit(name: str, max_module_bytes: int) -> int | None:
    """Return how large a member of this name may be; None if it does not belong in a bundle."""
    if name == LABEL:
        return MAX_LABEL_BYTES
    if _STATEMENT.fullmatch(name):
        return MAX_ENVELOPE_BYTES
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    return {
        MODULE_FILE: max_module_bytes,
        CARD_FILE: MAX_CARD_BYTES,
        SIGNATURE_FILE: MAX_SIGNATURE_BYTES,
    }[match[2]]
