"""A store at a URL, through obstore: S3, Google Cloud, Azure, and memory for tests.

Credentials come from where the provider's own tools take them, never from the URL, so that they
are in no settings file and no log: for S3 the AWS_* environment, a web identity or an instance
role (obstore), else the shared credentials file (coordinator.aws_profile).
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from coordinator.aws_profile import profile_settings
from coordinator.errors import StoreError, UsageError
from coordinator.store import Held

_RETRY = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_CLIENT = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=20)}
_S3_SCHEMES = ("s3", "s3a")
_SIMULTANEOUS = 16
"""Questions to a distant store at a time: a large module's publication asks about each chunk."""


class ObjectStore:
    """Objects in any store that obstore knows, with conditional creation."""

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """Open a URL.

        Raises:
            UsageError: the URL is of no known kind, or carries credentials.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise UsageError(
                "credentials do not belong in the store's URL",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            )
        options: dict[str, Any] = {}
        if parts.scheme != "memory":
            options = {"retry_config": _RETRY, "client_options": _CLIENT}
        if parts.scheme in _S3_SCHEMES:
            options["config"] = profile_settings()
            # Explicit client options make obstore ignore this variable of its own.
            if os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true":
                options["client_options"] = {**_CLIENT, "allow_http": True}
        try:
            return cls(obstore.store.from_url(url, **options))
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

    def held(self, key: str) -> Held | None:
        """Return an object's size and time, None if there is none."""
        try:
            return _held(obstore.head(self._store, key))
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _store_error(error, key) from error

    def held_many(self, keys: Iterable[str]) -> dict[str, Held | None]:
        """Do `held` for many keys at once."""
        listed = tuple(keys)
        return dict(zip(listed, self._pool.map(self.held, listed), strict=True))

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix`, in order."""
        for key, _ in self.scan(prefix):
            yield key

    def scan(self, prefix: str) -> Iterator[tuple[str, Held]]:
        """Do `list`, with size and time."""
        try:
            found = [
                (item["path"], _held(item))
                for batch in obstore.list(self._store, prefix)
                for item in batch
            ]
        except (BaseError, OSError) as error:
            raise _store_error(error, prefix) from error
        yield from sorted(found, key=lambda item: item[0])

    def refresh(self, key: str) -> bool:
        """Write an object anew, as object stores have no other way; False if there is none."""
        data = self.get(key)
        if data is None:
            return False
        try:
            obstore.put(self._store, key, data, use_multipart=False)
        except (BaseError, OSError) as error:
            raise _store_error(error, key) from error
        return True

    def delete(self, key: str) -> None:
        """Delete an object; no matter if there is none."""
        try:
            obstore.delete(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise _store_error(error, key) from error

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_SIMULTANEOUS, thread_name_prefix="store")


def _held(item: Any) -> Held:
    return Held(int(item["size"]), item["last_modified"].timestamp())


def _store_error(error: Exception, key: str) -> StoreError:
    return StoreError(f"the object store refused {key}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
