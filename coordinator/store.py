"""All state of the coordinator: named, immutable objects behind four operations.

    spec.dsse                                  the signed federation spec
    chunks/<first two digits>/<sha256>         pieces of module files
    publications/<module digest>.dsse          signed publications
    revocations/<issuer>/<sequence>.dsse       signed revocations, sequence in eight digits
    enrolments/<invitation serial>.json        which keys an invitation was exchanged for

Objects are only ever created, never replaced: `put_if_absent` is what makes publication atomic,
revocation chains unforkable and invitations single-use, over any number of replicas.
"""

from collections.abc import Iterator
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


class Store(Protocol):
    """What the services need of an object store."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object durably; False if the key is taken.

        Raises:
            StoreError: full, read-only or unreachable.
        """

    def get(self, key: str) -> bytes | None:
        """Return an object, None if there is none."""

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None if there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix` (which ends in a slash), in order."""


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
