"""Reading what the coordinator streams: statements up to a position, and cards, many in one call.

Nothing here is believed: sizes and numbers are bounded, callers verify.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from client_agent.errors import NetworkError
from client_agent.relay.faults import DamagedTransferError
from client_agent.relay.receiving import Data
from client_agent.relay.retrying import Attempts
from ff_protocol.canonical import sha256_hex
from ff_protocol.limits import (
    MAX_CHUNKS_PER_REQUEST,
    MAX_ENVELOPE_BYTES,
    MAX_LISTED_STATEMENTS,
    MAX_POSITION_BYTES,
)
from ff_protocol.manifest import CARD_FILE
from ff_protocol.statements import Publication


def read_statements(
    messages: Iterable[Any], seen: set[str], count: Callable[[int], None]
) -> Generator[bytes, None, bytes]:
    """Yield the envelopes of a listing that are not in `seen`, and add them there.

    Args:
        messages: `SignedStatement`s as they come.
        seen: SHA-256 of envelopes, hexadecimal.
        count: told of the bytes of every envelope.

    Returns:
        The position that ends the listing; empty if none does.

    Raises:
        DamagedTransferError: more or larger statements than a federation can have.
    """
    for number, message in enumerate(messages, start=1):
        if len(message.envelope) > MAX_ENVELOPE_BYTES or number > MAX_LISTED_STATEMENTS:
            raise DamagedTransferError("the coordinator sends more than a federation can have")
        count(len(message.envelope))
        if message.position and not message.envelope:
            return bytes(message.position[:MAX_POSITION_BYTES])
        label = sha256_hex(message.envelope)
        if label not in seen:
            seen.add(label)
            yield message.envelope
    return b""


def read_cards(
    publications: list[Publication],
    chunks: Callable[[tuple[str, ...]], Iterator[Data]],
    attempts: Attempts,
) -> Iterator[tuple[Publication, bytes | None]]:
    """Yield the bytes of each module's `card.json`, unchecked; None where it cannot be had.

    Args:
        publications: whose cards.
        chunks: yields chunks by their digests, fewer if one is missing.
        attempts: how long transient faults are tried again.

    Raises:
        NetworkError: cut off; call again for the rest.
    """
    left = list(publications)
    while left:
        batch = left[:MAX_CHUNKS_PER_REQUEST]
        # A card is at most 64 KiB: one chunk, by its limit.
        digests = tuple(item.files[CARD_FILE].chunks[0] for item in batch)
        done = 0
        try:
            for publication, data in zip(batch, chunks(digests), strict=False):
                attempts.progressed()
                done += 1
                yield publication, bytes(data)
        except NetworkError as error:
            if error.transient:
                attempts.failed(error)
                left = left[done:]
                continue
        if done < len(batch):  # it has not the next one, but may have those behind it
            yield batch[done], None
            done += 1
        left = left[done:]
