"""Judging signed heads: is a revocation being kept from this site, and how old is what it knows?

Decisions on values, without any I/O. What a site says of its own chain is proof: it signed both the
head and, if it is honest, the revocation. What it says of another's chain is a claim: it names the
one who made it and stops nothing unless the federation's policy says so.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from client_agent.registry.revocations import RevocationList
from ff_protocol.canonical import sha256_hex
from ff_protocol.heads import Head, Heads
from ff_protocol.names import Role
from ff_protocol.statements import Publication

MAX_SIGNED_HEADS = 64

Kind = Literal["withheld", "forked", "stale", "rolled_back", "reordered", "restored"]


@dataclass(frozen=True)
class Suspicion:
    """Something that does not fit.

    Attributes:
        kind: `withheld` (a revocation is known to exist and is not here), `forked` (two differ
            under one number), `stale` (no fresh word of a site whose module is in use),
            `rolled_back` (the coordinator hands out less than it did), `reordered`, `restored`
            (this site has signed more than its home remembers).
        about: the site (or `authority`) concerned.
        text: one line for people.
        proven: the site concerned signed the evidence itself.
    """

    kind: Kind
    about: str
    text: str
    proven: bool = False


def heads_of(revocations: RevocationList, witness: str) -> tuple[Head, ...]:
    """Return the end of each issuer's chain, by issuer: what `witness` signs for.

    At most `MAX_SIGNED_HEADS`, or statements would grow with the federation: its own and the
    authority's always, of the others those that come first in an order of its own, so that over all
    witnesses every issuer has as many (rendezvous hashing).
    """
    chains = {entry.issuer: entry for entry in revocations.relayed}
    always = {witness, str(Role.AUTHORITY)}
    order = sorted(
        chains,
        key=lambda issuer: (issuer not in always, sha256_hex(f"{witness} {issuer}".encode())),
    )
    return tuple(
        Head(name, chains[name].sequence, chains[name].digest)
        for name in sorted(order[:MAX_SIGNED_HEADS])
    )


def compare_heads(
    heads: Iterable[Heads], publications: Iterable[Publication], revocations: RevocationList
) -> tuple[Suspicion, ...]:
    """Find revocations that someone has signed for and that are not here.

    Args:
        heads: the newest heads statement of each site.
        publications: those held here; each carries the heads that its publisher knew.
        revocations: those in force here.
    """
    banned = {entry.site_id for entry in revocations.local if entry.site_id is not None}
    said = [(item.site_id, head) for item in heads for head in item.heads]
    said += [(item.site_id, head) for item in publications for head in item.heads]
    found: dict[tuple[str, str, bool], Suspicion] = {}
    for witness, head in said:
        if witness in banned:
            continue
        suspicion = _compare(witness, head, revocations)
        if suspicion is not None:
            found.setdefault((suspicion.kind, suspicion.about, suspicion.proven), suspicion)
    return tuple(found.values())


def find_stale(
    heads: Mapping[str, Heads], sites: Iterable[str], at: dt.datetime
) -> tuple[Suspicion, ...]:
    """Find sites whose modules are in use and of whom there is no fresh word.

    Args:
        heads: the newest heads statement of each site.
        sites: whose modules are in use here, this site's own left out.
        at: the present time.
    """
    found = []
    for site in sorted(set(sites)):
        known = heads.get(site)
        if known is None:
            text = (
                f"no signed heads of {site} are here: whether it has revoked anything is not known"
            )
            found.append(Suspicion("stale", site, text))
        elif known.expired(at):
            text = (
                f"the newest signed heads of {site} expired on {known.expires_at}: it has been "
                "silent, or the coordinator withholds its statements"
            )
            found.append(Suspicion("stale", site, text))
    return tuple(found)


def find_rolled_back(
    listed: Mapping[str, int], held: Mapping[str, Heads], own_site: str
) -> tuple[Suspicion, ...]:
    """Find sites whose heads the coordinator once handed out and now keeps back.

    Args:
        listed: the sequence of each site's heads that the coordinator hands out now.
        held: the newest heads statement of each site that was ever received here.
        own_site: left out: what this site signed last may not have reached the coordinator.
    """
    return tuple(
        Suspicion(
            "rolled_back",
            site,
            f"the coordinator hands out heads {listed.get(site, 0)} of {site}, heads "
            f"{known.sequence} were seen before: its store was rolled back, or it withholds",
        )
        for site, known in sorted(held.items())
        if site != own_site and listed.get(site, 0) < known.sequence
    )


def find_reordered(arrived: Iterable[tuple[str, int]]) -> tuple[Suspicion, ...]:
    """Find issuers whose revocations did not come in order; pairs of issuer and sequence."""
    last: dict[str, int] = {}
    found = {}
    for issuer, sequence in arrived:
        if sequence < last.get(issuer, 0):
            text = f"the coordinator hands out the revocations of {issuer} out of order"
            found[issuer] = Suspicion("reordered", issuer, text)
        last[issuer] = max(sequence, last.get(issuer, 0))
    return tuple(found.values())


def _compare(witness: str, head: Head, revocations: RevocationList) -> Suspicion | None:
    chain = revocations.of_issuer(head.issuer)
    proven = witness == head.issuer
    if len(chain) < head.sequence:
        return Suspicion(
            "withheld",
            head.issuer,
            f"{witness} signed that {head.issuer} has issued {head.sequence} revocations, "
            f"{len(chain)} are here: the coordinator may be withholding the rest",
            proven,
        )
    if chain[head.sequence - 1].digest != head.digest:
        return Suspicion(
            "forked",
            head.issuer,
            f"revocation {head.sequence} of {head.issuer} here is not the one that {witness} "
            "signed for",
            proven,
        )
    return None
