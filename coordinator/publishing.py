"""Making a publication visible, so that its chunks are there then and stay.

An intent, which lists the chunks, stands in the store from before they are checked until after the
publication is there: garbage collection spares what an intent lists (decision 6). An intent that a
killed coordinator leaves behind is removed by a later collection.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping

from coordinator import rules
from coordinator.collection_mark import check_not_condemned
from coordinator.errors import QuotaError, RefusedStatementError
from coordinator.store import INTENTS, Store, chunk_key, publication_key


def publish_complete(
    store: Store,
    module: str,
    envelope: bytes,
    needed: Mapping[str, int],
    admit: Callable[[], None] = lambda: None,
) -> bool:
    """Make a publication visible if every chunk is there.

    Args:
        store: where chunks and publications are.
        module: digest of the module.
        envelope: the signed publication, verified.
        needed: size of each chunk by digest, from `rules.needed_chunks`.
        admit: called when the chunks are there, before anything is visible; may refuse.

    Returns:
        False if the module has a publication already.

    Raises:
        RefusedStatementError: a chunk is missing or of another size.
        QuotaError: from `admit`.
        BusyError: a chunk is being deleted at this moment.
        StoreError: the store refuses; whether the publication is there is then unknown.
    """
    intent = f"{INTENTS}{module}-{secrets.token_hex(8)}.txt"
    store.put_if_absent(intent, "\n".join(sorted(needed)).encode())
    try:
        check_not_condemned(store, needed)
        answers = store.held_many(map(chunk_key, needed)).values()
        sizes = [None if held is None else held.size for held in answers]
        rules.check_complete(needed, dict(zip(needed, sizes, strict=True)))
        admit()
    except (RefusedStatementError, QuotaError):
        store.delete(intent)
        raise
    # If this fails the publication may appear yet: then the intent must outlast it.
    created = store.put_if_absent(publication_key(module), envelope)
    store.delete(intent)
    return created


def intended_chunks(store: Store) -> Iterator[str]:
    """Yield the digests that the intents in the store list."""
    for key in store.list(INTENTS):
        yield from (store.get(key) or b"").decode().split("\n")
