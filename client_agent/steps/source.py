"""Where statements and modules come from: the coordinator, or a bundle on a disk."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from client_agent.relay.answers import Inquiry
from ff_protocol.statements import Publication


class Source(Protocol):
    """Nothing that comes from a source is trusted before the one who takes it has checked it."""

    bytes_sent: int
    bytes_received: int

    def list_statements(self, known: set[str]) -> Iterator[bytes]:
        """Yield the envelopes whose SHA-256 is not in `known`, revocations first."""

    def fetch_files(
        self, publication: Publication, folder: Path, on_progress: Callable[[int, int], None]
    ) -> None:
        """Bring a module's files into `folder`, each checked against `publication`."""

    def fetch_cards(
        self, publications: list[Publication]
    ) -> Iterator[tuple[Publication, bytes | None]]:
        """Yield the bytes of each module's `card.json`, unchecked; None where it cannot be had."""


@runtime_checkable
class DeltaSource(Protocol):
    """A source that can list what came since it was asked before."""

    def list_news(self, inquiry: Inquiry) -> Generator[bytes, None, bytes]:
        """Yield what an inquiry asks for; return the position from which to ask the next time."""
