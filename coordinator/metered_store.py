"""A store that notes how long each operation takes."""

from collections.abc import Iterable, Iterator

from coordinator.metrics import Metrics
from coordinator.store import Held, Store


class MeteredStore:
    """The store inside, with times."""

    def __init__(self, inside: Store, metrics: Metrics) -> None:
        self._inside = inside
        self._seconds = metrics.store_seconds

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object durably; False if the key is taken."""
        with self._seconds.labels("put").time():
            return self._inside.put_if_absent(key, data)

    def get(self, key: str) -> bytes | None:
        """Return an object, None if there is none."""
        with self._seconds.labels("get").time():
            return self._inside.get(key)

    def held(self, key: str) -> Held | None:
        """Return an object's size and time, None if there is none."""
        with self._seconds.labels("head").time():
            return self._inside.held(key)

    def held_many(self, keys: Iterable[str]) -> dict[str, Held | None]:
        """Do `held` for many keys, at once where the store is far away."""
        with self._seconds.labels("head_many").time():
            return self._inside.held_many(keys)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix`, in order; lazily, so without a time."""
        return self._inside.list(prefix)

    def scan(self, prefix: str) -> Iterator[tuple[str, Held]]:
        """Do `list`, with size and time."""
        return self._inside.scan(prefix)

    def refresh(self, key: str) -> bool:
        """Set an object's time to now; False if there is none."""
        with self._seconds.labels("refresh").time():
            return self._inside.refresh(key)

    def delete(self, key: str) -> None:
        """Delete an object; no matter if there is none."""
        with self._seconds.labels("delete").time():
            self._inside.delete(key)
