"""The authority's newest member list as this site holds it, and its root changes as followed here.

A smaller number than the one held is a replay and changes nothing. Each is verified when read.
"""

import datetime as dt
from dataclasses import dataclass

from client_agent.registry.freshness import Suspicion
from client_agent.registry.refusals import forget_refusals
from client_agent.registry.specs import known_revisions
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from ff_protocol import dsse, roots
from ff_protocol.canonical import sha256_hex
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.members import MemberList, read_members
from ff_protocol.names import Role

AUTHORITY = str(Role.AUTHORITY)


@dataclass(frozen=True)
class MembersTaken:
    """What a member list changed: sites expelled, and sites that may take part again."""

    expelled: tuple[str, ...] = ()
    readmitted: tuple[str, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()


def load_members(site: Site, at: dt.datetime) -> MemberList | None:
    """Return the newest member list held here, None if there is none."""
    if not site.home.members.exists():
        return None
    envelope = read_bounded(site.home.members, MAX_ENVELOPE_BYTES, "member list")
    return read_members(
        dsse.verify(envelope, site.trust, (Role.AUTHORITY,), at=at, held=True), at=None
    )


def take_members(
    site: Site, payload: dsse.VerifiedPayload, envelope: bytes, at: dt.datetime
) -> MembersTaken:
    """Keep a member list if it is newer than the one held.

    Args:
        site: who takes it.
        payload: what `dsse.verify` returned for it.
        envelope: as received.
        at: the present time.

    Raises:
        MalformedError, UntrustedError: wrong form, or not the authority's.
    """
    members = read_members(payload, at=at)
    held = load_members(site, at)
    if held is not None and members.version <= held.version:
        if members.version == held.version and members != held:
            text = f"the authority has signed two different member lists numbered {held.version}"
            return MembersTaken(suspicions=(Suspicion("forked", AUTHORITY, text),))
        return MembersTaken()
    before = held.sites() if held else frozenset()
    write_atomically(site.home.members, envelope)
    readmitted = before - members.sites()
    if readmitted:
        again = [item.module for item in published_modules(site) if item.site_id in readmitted]
        forget_refusals(site.home, again)
    expelled = tuple(sorted(members.sites() - before))
    for name in expelled:
        site.log.append("site_expelled", site=name, members=members.version)
    for name in sorted(readmitted):
        site.log.append("site_readmitted", site=name, members=members.version)
    return MembersTaken(expelled, tuple(sorted(readmitted)))


def known_authority_statements(site: Site) -> set[str]:
    """Return the SHA-256 of the member list and the root changes held here."""
    paths = [site.home.members, *site.home.trust_statements.glob("*.dsse")]
    return {
        sha256_hex(read_bounded(path, MAX_ENVELOPE_BYTES, "statement"))
        for path in paths
        if path.exists()
    }


def roots_version(site: Site) -> int:
    """Return the version of the federation's roots that this site has followed."""
    followed = (int(path.stem) for path in site.home.trust_statements.glob("*.dsse"))
    return max(followed, default=site.identity.roots_version)


def take_roots(site: Site, envelope: bytes, at: dt.datetime) -> bool:
    """Follow a change of the federation's root; True if there was something to follow.

    `site.trust` changes in place. The certificates are written before the statement, so that an
    interruption leaves a home that follows the same statement again.

    Raises:
        MalformedError, UntrustedError: the roots that must have signed it have not.
    """
    statement = roots.follow(envelope, site.trust, roots_version(site), at=at)
    if statement is None:
        return False
    trust = statement.trust()
    write_atomically(site.home.root_certificate, trust.pem)
    write_atomically(site.home.trust_statements / f"{statement.version:08d}.dsse", envelope)
    site.trust.become(trust)
    site.log.append(
        "roots_changed",
        version=statement.version,
        roots=[roots.root_fingerprint(root) for root in statement.roots],
    )
    return True


def authority_suspicions(site: Site, at: dt.datetime) -> tuple[Suspicion, ...]:
    """Judge what is held of the authority: an expired list, a root or a spec that is missing."""
    members = load_members(site, at)
    if members is None:
        return ()
    found = []
    if members.expired(at):
        text = (
            f"the authority's member list expired on {members.expires_at}: the coordinator is out "
            "of order or withholds its statements; who was expelled since is not known"
        )
        found.append(Suspicion("stale", AUTHORITY, text))
    if members.roots > roots_version(site):
        text = (
            f"the federation's roots are at version {members.roots}, version {roots_version(site)} "
            "is here: the coordinator may be withholding the change"
        )
        found.append(Suspicion("withheld", AUTHORITY, text))
    newest = max(known_revisions(site))
    if members.spec > newest:
        text = (
            f"the federation spec is at revision {members.spec}, revision {newest} is here: the "
            "coordinator may be withholding the new one"
        )
        found.append(Suspicion("withheld", AUTHORITY, text))
    return tuple(found)
