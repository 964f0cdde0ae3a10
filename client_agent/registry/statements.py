"""Publications that this site holds, its own and others', each verified when it is read."""

from functools import partial

from client_agent.home import Home
from client_agent.registry.verified import read_held
from client_agent.site import Site
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Role
from ff_protocol.statements import Publication, read_publication


def store_publication(home: Home, publication: Publication, envelope: bytes) -> None:
    """Keep a verified publication."""
    path = home.publications / f"{publication.module}.dsse"
    if not path.exists():
        write_atomically(path, envelope)


def published_modules(site: Site, *, of_site: str | None = None) -> tuple[Publication, ...]:
    """Return the publications held here, in the order of the modules' digests.

    Args:
        site: whose registry.
        of_site: only those of this site.
    """
    folder, limit = site.home.publications, site.spec.policy.max_module_bytes
    read = partial(read_publication, max_module_bytes=limit)
    publications = []
    for path in sorted(folder.glob("*.dsse")) if folder.is_dir() else ():
        envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "publication")
        publication = read_held(envelope, site.trust, (Role.SITE,), read, limit)
        if of_site in (None, publication.site_id):
            publications.append(publication)
    return tuple(publications)


def known_envelopes(home: Home) -> set[str]:
    """Return the SHA-256 of every envelope held here, so that the coordinator can skip them."""
    known = set()
    for folder in (home.publications, home.revocations):
        for path in folder.glob("*.dsse") if folder.is_dir() else ():
            known.add(canonical.sha256_hex(read_bounded(path, MAX_ENVELOPE_BYTES, "statement")))
    return known
