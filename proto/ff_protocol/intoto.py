"""The frame of every signed statement: in-toto Statement v1 with one of our predicate types.

Builders and readers of each kind (statements, heads, unlearning) share these few functions. Readers
take what `dsse.verify` returned and raise `MalformedError` on any deviation. No I/O here.
"""

from typing import Any

from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import check_digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREFIX = "urn:federated-factory:statement:"


def predicate_type(payload: VerifiedPayload) -> str:
    """Return the predicate type of a statement.

    Raises:
        MalformedError: not an in-toto Statement v1.
    """
    value = payload.value
    if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
        raise MalformedError("not an in-toto Statement v1")
    return str(value.get("predicateType"))


def build(kind: str, subjects: list[tuple[str, str]], predicate: dict[str, Any]) -> Any:
    """Build a statement of type `kind` about `subjects`, pairs of name and SHA-256."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": kind,
        "predicate": predicate,
    }


def predicate_of(payload: VerifiedPayload, kind: str, keys: set[str]) -> dict[str, Any]:
    """Return the predicate of a statement of type `kind`, which has exactly `keys`.

    Raises:
        MalformedError: another type or other keys.
        UntrustedError: it is about another federation than its signer's.
    """
    if predicate_type(payload) != kind:
        raise MalformedError(f"statement of type {predicate_type(payload)[:120]!r}, not {kind!r}")
    predicate = payload.value.get("predicate")
    if not isinstance(predicate, dict) or set(predicate) != keys:
        raise MalformedError(f"a {kind.split(':')[-2]} has exactly the keys {sorted(keys)}")
    if predicate["federation"] != payload.signer.federation_id:
        raise UntrustedError("the statement is about another federation than its signer's")
    return predicate


def keys_of(payload: VerifiedPayload) -> tuple[str, ...]:
    """Return the keys of a statement's predicate, none if it has no predicate."""
    value = payload.value
    predicate = value.get("predicate") if isinstance(value, dict) else None
    return tuple(predicate) if isinstance(predicate, dict) else ()


def subjects_of(payload: VerifiedPayload, *, limit: int) -> tuple[str, ...]:
    """Return the subjects' SHA-256s.

    Raises:
        MalformedError: not a list of at most `limit` digests.
    """
    subjects = payload.value.get("subject")
    if not isinstance(subjects, list) or len(subjects) > limit:
        raise MalformedError(f"a statement has a list of at most {limit} subjects")
    try:
        return tuple(check_digest(str(subject["digest"]["sha256"])) for subject in subjects)
    except (KeyError, TypeError) as error:
        raise MalformedError("a subject has a SHA-256 digest") from error


def text_of(predicate: dict[str, Any], key: str) -> str:
    """Return a text field.

    Raises:
        MalformedError: it is not text.
    """
    value = predicate[key]
    if not isinstance(value, str):
        raise MalformedError(f"{key} must be text")
    return value


def digests_of(value: Any, what: str, *, limit: int) -> tuple[str, ...]:
    """Return a list of distinct SHA-256s.

    Raises:
        MalformedError: not such a list of at most `limit`.
    """
    if not isinstance(value, list) or len(value) > limit or len(set(map(str, value))) != len(value):
        raise MalformedError(f"{what}: a list of at most {limit} distinct digests")
    return tuple(check_digest(str(item)) for item in value)
