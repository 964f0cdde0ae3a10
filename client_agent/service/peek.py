"""Looking at what the coordinator has while heavy work holds the home: is any of it urgent?"""

from client_agent.registry.heads import known_heads
from client_agent.registry.members import known_authority_statements
from client_agent.registry.refusals import refusals
from client_agent.registry.revocations import ISSUERS
from client_agent.registry.statements import known_envelopes
from client_agent.site import Site
from client_agent.steps.source import Source
from ff_protocol import dsse, intoto
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.members import MEMBERS
from ff_protocol.statements import REVOCATION


def has_urgent(site: Site, source: Source, told: set[str]) -> bool:
    """Say whether a revocation or a list of members waits that this site does not have.

    Signatures are checked, nothing is stored. Each statement counts once, so that nobody can keep
    a site from its work with one that it does not take.

    Args:
        site: who looks.
        source: the coordinator.
        told: SHA-256 of the statements that have counted before; those found now are added.

    Raises:
        NetworkError: it cannot be reached.
    """
    known = known_envelopes(site.home) | set(refusals(site.home)) | known_heads(site)
    known |= known_authority_statements(site)
    found = False
    for envelope in source.list_statements(known):
        label = sha256_hex(envelope)
        if label not in told and _is_urgent(site, envelope):
            told.add(label)
            found = True
    return found


def _is_urgent(site: Site, envelope: bytes) -> bool:
    try:
        payload = dsse.verify(envelope, site.trust, ISSUERS, at=utc_now())
        return intoto.predicate_type(payload) in (REVOCATION, MEMBERS)
    except FederatedFactoryError:
        return False
