"""All state of the coordinator: named, immutable objects behind a few operations.

    spec.dsse                                  the signed federation spec
    chunks/<first two digits>/<sha256>         pieces of module files
    publications/<module digest>.dsse          signed publications
    revocations/<issuer>/<sequence>.dsse       signed revocations, sequence in eight digits
    specs/<revision>.dsse                      later revisions of the spec (spec_book.py)
    capabilities/<site>/<time>-<hash>.dsse     what sites say of their programs (capabilities.py)
    format/<version>.json                      what programs this store needs (store_format.py)
    heads/<site>/<sequence>.dsse               signed heads, sequence in eight digits
    feed/<number>.txt                          the order in which statements came (feed.py)
    members/<version>.dsse                     signed member lists (member_list.py)
    roots/<version>.dsse                       signed changes of root (root_changes.py)
    enrolments/<invitation serial>.json        which keys an invitation was exchanged for
    expulsions/<site>.json                     sites that are refused
    intake/<site>/<day>/<bytes>-<random>.txt   what sites have sent in a day (quotas.py)
    published/<site>/<module digest>.txt       modules that count for a site (quotas.py)
    intents/<module digest>-<random>.txt       publications that are being checked (publishing.py)
    collection.txt                             chunks that are being deleted (collection_mark.py)

Objects are only ever created or deleted, never replaced: `put_if_absent` is what makes publication
atomic, revocation chains unforkable and invitations single-use, over any number of replicas. What
is deleted: chunks and past days' intake by garbage collection, expulsions, counts of what was
refused, heads that later ones have replaced, and the last two kinds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from coordinator.errors import UsageError
from coordinator.home import CoordinatorHome
from ff_protocol.names import check_digest, check_site_id
from ff_protocol.statements import Revocation

SPEC_KEY = "spec.dsse"
PUBLICATIONS = "publications/"
REVOCATIONS = "revocations/"
ENROLMENTS = "enrolments/"
EXPULSIONS = "expulsions/"
INTENTS = "intents/"
CHUNKS = "chunks/"
COLLECTION_KEY = "collection.txt"


@dataclass(frozen=True)
class Held:
    """An object in the store: its size in bytes, and when it was last written or refreshed, in
    seconds since 1970 by the store's own clock.
    """

    size: int
    modified: float


class Store(Protocol):
    """What the services need of an object store. Every operation may raise `StoreError`."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object durably; False if the key is taken.

        Raises:
            StoreError: full, read-only or unreachable.
        """

    def get(self, key: str) -> bytes | None:
        """Return an object, None if there is none."""

    def held(self, key: str) -> Held | None:
        """Return an object's size and time, None if there is none."""

    def held_many(self, keys: Iterable[str]) -> dict[str, Held | None]:
        """Do `held` for many keys, at once where the store is far away."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix` (which ends in a slash), in order."""

    def scan(self, prefix: str) -> Iterator[tuple[str, Held]]:
        """Do `list`, with size and time."""

    def refresh(self, key: str) -> bool:
        """Set an object's time to now, its bytes as they are; False if there is none."""

    def delete(self, key: str) -> None:
        """Delete an object; no matter if there is none."""


def chunk_key(digest: str) -> str:
    """Key of a chunk.

    Raises:
        MalformedError: not a SHA-256 in hexadecimal.
    """
    return f"chunks/{check_digest(digest)[:2]}/{digest}"


def publication_key(module: str) -> str:
    """Key of a publication."""
    return f"{PUBLICATIONS}{check_digest(module)}.dsse"


def revocation_key(revocation: Revocation) -> str:
    """Key of a revocation."""
    return f"{revocations_prefix(revocation.issuer)}{revocation.sequence:08d}.dsse"


def revocations_prefix(issuer: str) -> str:
    """Prefix of an issuer's revocations; the authority is an issuer beside the sites."""
    return f"{REVOCATIONS}{issuer if issuer == 'authority' else check_site_id(issuer)}/"


def enrolment_key(serial: int) -> str:
    """Key of what an invitation was exchanged for."""
    return f"{ENROLMENTS}{serial:x}.json"


def expulsion_key(site_id: str) -> str:
    """Key of a site's expulsion."""
    return f"{EXPULSIONS}{check_site_id(site_id)}.json"


def open_store(home: CoordinatorHome) -> Store:
    """Open the store that the home's settings name.

    Raises:
        UsageError: the URL is of no known kind.
    """
    url = home.settings().store
    if url is None:
        from coordinator.folder_store import FolderStore

        return FolderStore(home.store_folder)
    return open_url(url)


def open_url(url: str) -> Store:
    """Open `file:///folder` or any URL that obstore knows (`s3://`, `gs://`, `az://`, `memory://`).

    Raises:
        UsageError: the URL is of no known kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        from pathlib import Path

        from coordinator.folder_store import FolderStore

        return FolderStore(Path(unquote(parts.path)))
    from coordinator.object_store import ObjectStore

    if not parts.scheme:
        raise UsageError(f"store {url!r} is not a URL", hint="for example s3://bucket/folder")
    return ObjectStore.open(url)
