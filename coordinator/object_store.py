"""A store at a URL, through obstore: S3, Google Cloud, Azure, and memory for tests."""

from collections.abc import Iterator
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from coordinator.errors import StoreError, UsageError


class ObjectStore:
    """Objects in any store that obstore knows, with conditional creation."""

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """Open a URL; credentials come from the environment, as the provider's tools take them.

        Raises:
            UsageError: the URL is of no known kind.
        """
        try:
            return cls(obstore.store.from_url(url))
        except (BaseError, ValueError) as error:
            raise UsageError(f"store {url!r}: {_first_line(error)}") from error

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object; False if the key is taken."""
        try:
            obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise _store_error(error, key) from error
        return True

    def get(self, key: str) -> bytes | None:
        """Return an object, None if there is none."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _store_error(error, key) from error

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None if there is none."""
        try:
            return int(obstore.head(self._store, key)["size"])
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _store_error(error, key) from error

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix`, in order."""
        try:
            found = [item["path"] for batch in obstore.list(self._store, prefix) for item in batch]
        except (BaseError, OSError) as error:
            raise _store_error(error, prefix) from error
        yield from sorted(found)


def _store_error(error: Exception, key: str) -> StoreError:
    return StoreError(f"the object store refused {key}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
