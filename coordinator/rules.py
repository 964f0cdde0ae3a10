"""What the relay accepts: decisions on values, without any I/O.

Sites check everything again (client_agent/registry): the coordinator's refusals save work and keep
accidents out, they are not what trust rests on.
"""

from collections.abc import Iterable, Mapping

from coordinator.errors import ForbiddenStatementError, RefusedStatementError
from ff_protocol.manifest import expected_chunk_size
from ff_protocol.names import Identity, Role
from ff_protocol.statements import Publication, Revocation


def check_speaker(peer: Identity, signer: Identity) -> None:
    """A peer may hand in its own statements only.

    Raises:
        ForbiddenStatementError: someone else signed it.
    """
    if peer != signer:
        raise ForbiddenStatementError(
            f"{peer.site_id} cannot hand in a statement of {signer.site_id or signer.role}"
        )


def check_not_revoked(publication: Publication, revocations: Iterable[Revocation]) -> None:
    """A revoked module stays away.

    Args:
        publication: what is to be published.
        revocations: those of the publisher and of the authority; others have no say.

    Raises:
        RefusedStatementError: one of them covers the module.
    """
    entitled = (publication.site_id, str(Role.AUTHORITY))
    for revocation in revocations:
        if revocation.issuer in entitled and revocation.covers(
            publication.module, publication.site_id
        ):
            raise RefusedStatementError(
                f"module {publication.module[:12]} is revoked by {revocation.issuer}",
                hint="train a new module to take part again",
            )


def needed_chunks(publication: Publication) -> dict[str, int]:
    """Return the size that each chunk of a publication must have, by digest.

    Raises:
        RefusedStatementError: one digest would have to have two sizes.
    """
    sizes: dict[str, int] = {}
    for entry in publication.files.values():
        for index, digest in enumerate(entry.chunks):
            size = expected_chunk_size(entry, index)
            if sizes.setdefault(digest, size) != size:
                raise RefusedStatementError(f"chunk {digest[:12]} is listed with two sizes")
    return sizes


def check_complete(needed: Mapping[str, int], held: Mapping[str, int | None]) -> None:
    """All chunks must be in the store, each with the size that the publication implies.

    Args:
        needed: from `needed_chunks`.
        held: size in the store by digest, None where absent.

    Raises:
        RefusedStatementError: a chunk is missing or of another size.
    """
    missing = [digest for digest in needed if held.get(digest) is None]
    if missing:
        raise RefusedStatementError(
            f"{len(missing)} of {len(needed)} chunks are missing, the first is {missing[0][:12]}",
            hint="run ff-agent send again: it sends what is missing",
        )
    for digest, size in needed.items():
        if held[digest] != size:
            raise RefusedStatementError(
                f"chunk {digest[:12]} has {held[digest]} bytes, the publication implies {size}"
            )


def check_right(revocation: Revocation, publishers: Mapping[str, str | None]) -> None:
    """A site may revoke itself and the modules that it published.

    Args:
        revocation: what is to be published, issued by a site.
        publishers: who published each module that it names, None if nobody has (yet).

    Raises:
        ForbiddenStatementError: it names another site or another's module.
    """
    if revocation.site_id not in (None, revocation.issuer):
        raise ForbiddenStatementError(
            f"{revocation.issuer} cannot revoke the site {revocation.site_id}"
        )
    for module in revocation.modules:
        publisher = publishers.get(module)
        if publisher not in (None, revocation.issuer):
            raise ForbiddenStatementError(
                f"{revocation.issuer} cannot revoke {module[:12]} of {publisher}"
            )


def already_revoked(revocation: Revocation, known: Iterable[Revocation]) -> bool:
    """Say whether an issuer's chain holds this revocation; if not, check that it continues it.

    Args:
        revocation: what is to be published.
        known: the issuer's revocations in the store.

    Raises:
        RefusedStatementError: out of sequence, or another one has that number.
    """
    chain = sorted(known, key=lambda item: item.sequence)
    for entry in chain:
        if entry.sequence == revocation.sequence:
            if entry.digest == revocation.digest:
                return True
            raise RefusedStatementError(
                f"{revocation.issuer} has another revocation numbered {revocation.sequence}"
            )
    last = chain[-1] if chain else None
    expected = (last.sequence + 1, last.digest) if last else (1, None)
    if (revocation.sequence, revocation.previous) != expected:
        raise RefusedStatementError(
            f"revocation {revocation.sequence} of {revocation.issuer} does not continue the chain: "
            f"number {expected[0]} comes next",
            hint="hand in the earlier ones first",
        )
    return False
