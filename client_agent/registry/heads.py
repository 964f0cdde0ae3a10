"""The newest heads statement of each site, each verified whenever it is read."""

from collections.abc import Iterable

from client_agent.registry.freshness import Suspicion, compare_heads, find_stale
from client_agent.registry.members import authority_suspicions, load_members
from client_agent.registry.modules import admitted_modules
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.registry.verified import read_held
from client_agent.site import Site
from ff_protocol import canonical, dsse
from ff_protocol.clock import utc_now
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.heads import Heads, read_heads
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Role


def load_heads(site: Site) -> dict[str, Heads]:
    """Return the newest heads statement of each site."""
    folder = site.home.heads
    found = {}
    for path in sorted(folder.glob("*.dsse")) if folder.is_dir() else ():
        envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "heads")
        heads = read_held(envelope, site.trust, (Role.SITE,), _read)
        found[heads.site_id] = heads
    return found


def _read(payload: dsse.VerifiedPayload) -> Heads:
    return read_heads(payload, at=None)


def store_heads(site: Site, heads: Heads, envelope: bytes) -> None:
    """Keep a verified heads statement in the place of an earlier one of that site."""
    write_atomically(site.home.heads / f"{heads.site_id}.dsse", envelope)


def known_heads(site: Site, sites: Iterable[str] | None = None) -> set[str]:
    """Return the SHA-256 of the heads statements held here: of these sites, or of all."""
    folder = site.home.heads
    if sites is None:
        paths = list(folder.glob("*.dsse")) if folder.is_dir() else []
    else:
        paths = [path for name in sites if (path := folder / f"{name}.dsse").is_file()]
    return {canonical.sha256_hex(read_bounded(path, MAX_ENVELOPE_BYTES, "heads")) for path in paths}


def suspicions(site: Site) -> tuple[Suspicion, ...]:
    """Judge what is held here: withheld revocations first, then sites without a fresh word."""
    heads = load_heads(site)
    revocations = load_revocations(site.home, site.trust)
    users = {module.card.site_id for module in admitted_modules(site.home)} - {site.site_id}
    members = load_members(site, utc_now())
    if members is not None:
        users -= members.sites()  # the expelled have no voice: the authority's list speaks for them
    return (
        *authority_suspicions(site, utc_now()),
        *compare_heads(heads.values(), published_modules(site), revocations),
        *find_stale(heads, users, utc_now()),
    )
