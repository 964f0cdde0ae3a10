"""What a store needs of the programs that serve it: old and new replicas side by side.

    format/<version>.json                      {"format": n, "program": "0.2.0"}, in eight digits

Objects of a new kind are added under prefixes of their own, which earlier programs pass over: most
versions serve one store together. Where they cannot, whoever first writes what earlier ones must
not pass over notes the format here first. A program of an earlier format then refuses to start, and
says which one is needed. A store without such an object is of format 1.

Format 2: there are later revisions of the federation spec, by which publications are judged.
"""

from coordinator.errors import NewerStoreError
from coordinator.store import Store
from ff_protocol import __version__, canonical
from ff_protocol.errors import MalformedError
from ff_protocol.limits import KIB

FORMATS = "format/"
FORMAT = 2
"""The newest that this program serves."""


def store_format(store: Store) -> int:
    """Return the format of a store."""
    key = max(store.list(FORMATS), default=None)
    return 1 if key is None else _number(key)


def check_store(store: Store) -> int:
    """Make sure that this program may serve a store; return its format.

    Raises:
        NewerStoreError: a later program is needed.
    """
    found = store_format(store)
    if found > FORMAT:
        program = _program(store.get(f"{FORMATS}{found:08d}.json"))
        raise NewerStoreError(
            f"the store is of format {found}, made by ff-coordinator {program}; this is "
            f"{__version__} and serves formats up to {FORMAT}",
            hint=f"install ff-coordinator {program} or later",
        )
    return found


def note_revisions(store: Store) -> None:
    """Note that from now on there are revisions of the spec: before the first one is written."""
    _note(store, 2)


def _note(store: Store, version: int) -> None:
    value = canonical.dumps({"format": version, "program": __version__})
    store.put_if_absent(f"{FORMATS}{version:08d}.json", value)


def _number(key: str) -> int:
    try:
        return int(key.removeprefix(FORMATS).removesuffix(".json"))
    except ValueError as error:
        raise MalformedError(f"{key[:80]}: not the name of a format") from error


def _program(data: bytes | None) -> str:
    try:
        value = canonical.loads(data or b"", max_bytes=KIB, what="format")
        return str(value["program"])[:40]
    except (MalformedError, KeyError, TypeError):
        return "of a later version"
