"""Revocations: who may issue what, which are in force, and whether one was withheld.

Rules:
- a site may revoke, for the whole federation, modules that it published itself;
- the authority may revoke anything, for the whole federation;
- an admin may revoke anything for their own site: such a revocation is never relayed;
- an issuer's revocations are numbered 1, 2, 3 ... and each names the hash of the one before, so
  that a withheld, reordered or replaced one is noticed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from client_agent.errors import RefusedError
from client_agent.home import Home
from client_agent.registry.verified import read_held
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Role
from ff_protocol.statements import Publication, Revocation, read_revocation
from ff_protocol.trust import TrustRoot

ISSUERS = (Role.SITE, Role.AUTHORITY)


_Index = dict[str | tuple[str], list[tuple[int, Revocation]]]
"""Revocations, each with its place in the order, by a module's digest and by (site id,)."""


@dataclass(frozen=True)
class RevocationList:
    """The revocations in force at this site.

    Attributes:
        relayed: federation-wide ones, by issuer and sequence.
        local: those that this site's admin issued for this site alone, by sequence.
    """

    relayed: tuple[Revocation, ...] = ()
    local: tuple[Revocation, ...] = ()

    def covering(self, module: str, site_id: str) -> Revocation | None:
        """Return the first revocation that applies to a module of a site, if any does.

        The issuer's right is asked here, with the module's true publisher, so that the order in
        which publications and revocations arrive cannot matter.
        """
        entitled = (site_id, str(Role.AUTHORITY))
        relayed, local = self._index
        found = [
            item
            for item in (*relayed.get(module, ()), *relayed.get((site_id,), ()))
            if item[1].issuer in entitled
        ]
        found = found or [*local.get(module, ()), *local.get((site_id,), ())]
        return min(found, key=lambda item: item[0])[1] if found else None

    def of_issuer(self, issuer: str) -> tuple[Revocation, ...]:
        """Return one issuer's federation-wide revocations in order."""
        return self._chains.get(issuer, ())

    # A federation of thousands asks both of every module and of every head that it knows.

    @cached_property
    def _chains(self) -> dict[str, tuple[Revocation, ...]]:
        chains: dict[str, list[Revocation]] = {}
        for entry in self.relayed:
            chains.setdefault(entry.issuer, []).append(entry)
        return {issuer: tuple(chain) for issuer, chain in chains.items()}

    @cached_property
    def _index(self) -> "tuple[_Index, _Index]":
        return _indexed(self.relayed), _indexed(self.local)


def check_right(revocation: Revocation, publications: Iterable[Publication]) -> None:
    """Check a relayed revocation against what is known of the modules that it names.

    Raises:
        RefusedError: a site revokes what another site published.
    """
    if revocation.issuer == str(Role.AUTHORITY):
        return
    if revocation.site_id not in (None, revocation.issuer):
        raise RefusedError(f"{revocation.issuer} cannot revoke the site {revocation.site_id}")
    publishers = {publication.module: publication.site_id for publication in publications}
    for module in (*revocation.modules, *revocation.successors):
        publisher = publishers.get(module, revocation.issuer)
        if publisher != revocation.issuer:
            raise RefusedError(
                f"{revocation.issuer} cannot revoke or replace {module[:12]} of {publisher}"
            )


def check_chain(revocation: Revocation, known: RevocationList) -> None:
    """Check that a revocation continues its issuer's chain.

    Raises:
        RefusedError: a predecessor is missing (withheld), or two differ under one number.
    """
    chain = known.of_issuer(revocation.issuer)
    if revocation.sequence <= len(chain):
        if chain[revocation.sequence - 1].digest != revocation.digest:
            raise RefusedError(
                f"{revocation.issuer} has signed two different revocations numbered "
                f"{revocation.sequence}",
                hint="tell the consortium's operator: the site or the coordinator misbehaves",
            )
        return
    expected = chain[-1].digest if chain else None
    if revocation.sequence != len(chain) + 1 or revocation.previous != expected:
        raise RefusedError(
            f"revocation {revocation.sequence} of {revocation.issuer} came without its "
            f"predecessor: the coordinator may be withholding statements",
            hint="run ff-agent receive again; if it stays, tell the consortium's operator",
        )


def load_revocations(home: Home, trust: TrustRoot) -> RevocationList:
    """Read and verify the revocations that are in force here."""
    return RevocationList(
        relayed=_load(home.revocations, trust), local=_load(home.local_revocations, trust)
    )


def store_revocation(folder: Path, revocation: Revocation, envelope: bytes) -> None:
    """Keep a checked revocation in `home.revocations` or `home.local_revocations`."""
    name = f"{revocation.issuer}-{revocation.sequence:08d}.dsse"
    write_atomically(folder / name, envelope)


def _load(folder: Path, trust: TrustRoot) -> tuple[Revocation, ...]:
    if not folder.is_dir():
        return ()
    entries = []
    for path in sorted(folder.glob("*.dsse")):
        envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "revocation")
        entries.append(read_held(envelope, trust, ISSUERS, read_revocation))
    return tuple(sorted(entries, key=lambda item: (item.issuer, item.sequence)))


def _indexed(revocations: Iterable[Revocation]) -> _Index:
    index: _Index = {}
    for place, entry in enumerate(revocations):
        for module in entry.modules:
            index.setdefault(module, []).append((place, entry))
        if entry.site_id is not None:
            index.setdefault((entry.site_id,), []).append((place, entry))
    return index
