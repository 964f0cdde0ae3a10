"""Taking signed statements from a source: verify each, keep it, say what does not fit.

Publications are kept as they come. Revocations are applied to the books in the order of their
numbers, whatever the order in which they came; one that names successors is kept only after these
have been fetched and checked, so that both take effect in one step. Heads come last and are
compared with all that is here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from client_agent.errors import NetworkError, RefusedError
from client_agent.module.admission import check_module, check_publication
from client_agent.policy.file import selection_in_force
from client_agent.registry.freshness import (
    Suspicion,
    compare_heads,
    find_reordered,
    find_rolled_back,
)
from client_agent.registry.heads import load_heads, store_heads
from client_agent.registry.members import take_members, take_roots
from client_agent.registry.modules import own_modules, remove_folder
from client_agent.registry.position import forget_position
from client_agent.registry.refusals import refusals, remember_refusal
from client_agent.registry.revocations import (
    ISSUERS,
    RevocationList,
    check_chain,
    check_right,
    load_revocations,
    store_revocation,
)
from client_agent.registry.specs import take_revision
from client_agent.registry.statements import published_modules, store_publication
from client_agent.site import Site
from client_agent.steps.listing import Listing
from client_agent.steps.source import Source
from ff_protocol import canonical, dsse, intoto, statements
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.heads import HEADS, Heads, read_heads
from ff_protocol.manifest import describe_module
from ff_protocol.members import MEMBERS
from ff_protocol.revisions import REVISION, OutOfOrderError
from ff_protocol.roots import is_trust_statement
from ff_protocol.statements import Publication, Revocation
from ff_protocol.stopping import raise_if_stopped


@dataclass
class Intake:
    """What one listing brought.

    Attributes:
        revocations: number of revocations taken.
        notes: what the authority says of sites and roots, in words.
        refused: digest (or a statement's hash) to the reason.
        suspicions: what does not fit.
        unsettled: something was refused for now and has to be listed again.
    """

    revocations: int = 0
    notes: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    suspicions: tuple[Suspicion, ...] = ()
    unsettled: bool = False


@dataclass
class _Arrived:
    """Verified statements of one listing that wait for its end."""

    revocations: list[tuple[Revocation, bytes]] = field(default_factory=list)
    heads: list[tuple[Heads, bytes]] = field(default_factory=list)


def take_statements(
    site: Site, source: Source, *, whole: bool, offers: Callable[[str], bool] = lambda module: True
) -> Intake:
    """Ask a source for statements and keep what holds.

    Args:
        site: who asks.
        source: the coordinator, or a bundle.
        whole: have all heads sent again, to see whether any is kept back that was here before.
        offers: whether the source has the module with this digest.

    Raises:
        NetworkError: cut off; what was taken is kept.
    """
    result = Intake()
    reordered = _take_listing(site, source, result, whole=whole, offers=offers)
    missing = _missing(site)
    if missing:
        # Something may have been published between the two parts of the listing, or was skipped.
        forget_position(site.home)
        _take_listing(site, source, result, whole=False, offers=offers)
        missing = _missing(site)
    result.suspicions = (*result.suspicions, *reordered, *missing)
    return result


def _missing(site: Site) -> tuple[Suspicion, ...]:
    known = load_revocations(site.home, site.trust)
    return compare_heads(load_heads(site).values(), published_modules(site), known)


def _take_listing(
    site: Site, source: Source, result: Intake, *, whole: bool, offers: Callable[[str], bool]
) -> tuple[Suspicion, ...]:
    arrived = _Arrived()
    listing = Listing(site, source, whole=whole)
    for envelope in listing:
        label = canonical.sha256_hex(envelope)
        try:
            if is_trust_statement(envelope):
                if take_roots(site, envelope, utc_now()):
                    result.notes.append(_roots_note(site))
                continue
            payload = dsse.verify(envelope, site.trust, ISSUERS, at=utc_now())
            _sort(site, payload, envelope, arrived, result)
        except FederatedFactoryError as error:
            refuse(site, result.refused, label, error.message)
            # What comes before it may still come.
            if not is_trust_statement(envelope) and not isinstance(error, OutOfOrderError):
                remember_refusal(site.home, label, printable(error.message), error.error_code)
    order = find_reordered((item.issuer, item.sequence) for item, _ in arrived.revocations)
    _take_revocations(site, source, arrived.revocations, result, offers)
    _take_heads(site, arrived.heads, result, whole=whole, asked=listing.heads_of)
    if not result.unsettled:
        listing.keep_position()
    return order


def _roots_note(site: Site) -> str:
    if len(site.trust.roots) > 1:
        return "the federation's root changes: its successor is trusted beside it from now on"
    return f"the federation's root has changed: fingerprint {site.trust.fingerprint}"


def _take_members(
    site: Site, payload: dsse.VerifiedPayload, envelope: bytes, result: Intake
) -> None:
    taken = take_members(site, payload, envelope, utc_now())
    result.suspicions += taken.suspicions
    result.notes += [f"{name} has been expelled from the federation" for name in taken.expelled]
    result.notes += [f"{name} may take part again" for name in taken.readmitted]


def _sort(
    site: Site,
    payload: dsse.VerifiedPayload,
    envelope: bytes,
    arrived: _Arrived,
    result: Intake,
) -> None:
    kind = intoto.predicate_type(payload)
    if kind == statements.REVOCATION:
        arrived.revocations.append((statements.read_revocation(payload), envelope))
    elif kind == MEMBERS:
        _take_members(site, payload, envelope, result)
    elif kind in (REVISION, statements.SPEC):
        taken = take_revision(site, payload, envelope)
        result.notes += taken.notes
        result.suspicions += taken.suspicions
    elif kind == HEADS:
        arrived.heads.append((read_heads(payload, at=utc_now()), envelope))
    else:
        limit = site.spec.policy.max_module_bytes
        publication = statements.read_publication(payload, max_module_bytes=limit)
        store_publication(site.home, publication, envelope)


def _take_revocations(
    site: Site,
    source: Source,
    arrived: list[tuple[Revocation, bytes]],
    result: Intake,
    offers: Callable[[str], bool],
) -> None:
    if not arrived:
        return
    publications = {item.module: item for item in published_modules(site)}
    known = load_revocations(site.home, site.trust)
    chains: dict[str, tuple[Revocation, ...]] = {}
    for revocation, envelope in sorted(arrived, key=lambda item: item[0].sequence):
        named = [
            publications[digest]
            for digest in (*revocation.modules, *revocation.successors)
            if digest in publications
        ]
        chain = chains.get(revocation.issuer, known.of_issuer(revocation.issuer))
        try:
            check_right(revocation, named)
            check_chain(revocation, RevocationList(chain))
        except RefusedError as error:
            # Not remembered: a missing predecessor may still come.
            result.unsettled = True
            refuse(site, result.refused, canonical.sha256_hex(envelope), error.message)
            continue
        successors = [item for item in named if item.module in revocation.successors]
        if successors and _concerned(site, revocation):
            _fetch_successors(site, source, successors, result, offers)
        store_revocation(site.home.revocations, revocation, envelope)
        if revocation.sequence > len(chain):
            chains[revocation.issuer] = (*chain, revocation)
        result.revocations += 1
        site.log.append(
            "revocation_received",
            issuer=revocation.issuer,
            sequence=revocation.sequence,
            statement=revocation.digest,
        )


def _concerned(site: Site, revocation: Revocation) -> bool:
    """Whether successors are wanted at once: always, unless a rule chooses among modules.

    Then a successor comes at once only in the place of what is used here.
    """
    if selection_in_force(site.home, site.spec) is None:
        return True
    return any(
        folder(digest).exists()
        for digest in revocation.modules
        for folder in (site.home.admitted, site.home.waiting)
    )


def _fetch_successors(
    site: Site,
    source: Source,
    successors: list[Publication],
    result: Intake,
    offers: Callable[[str], bool],
) -> None:
    """Have the successors lie checked in `incoming/` before the revocation is in force.

    One that is refused, unknown or damaged at the coordinator does not hold the revocation up.
    """
    own = {describe_module(folder)[0] for folder in own_modules(site.home).values()}
    refused = refusals(site.home)
    for publication in successors:
        digest = publication.module
        here = digest in own or site.home.admitted(digest).exists()
        here = here or site.home.waiting(digest).exists()
        if here or digest in refused or not offers(digest):
            continue
        try:
            check_publication(publication, site, load_revocations(site.home, site.trust))
            fetch_module(site, source, publication)
        except RefusedError as error:
            refuse_module(site, result.refused, digest, error)
        except NetworkError as error:
            if error.transient:
                raise
            refuse(site, result.refused, digest, error.message)


def fetch_module(
    site: Site,
    source: Source,
    publication: Publication,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fetch a module into `incoming/` and check it there.

    Args:
        site: who fetches.
        source: where from.
        publication: what to fetch.
        show: called with (bytes here, bytes in all).

    Raises:
        RefusedError: it breaks a rule. NetworkError: cut off, or damaged at the coordinator.
    """
    folder = site.home.incoming(publication.module)
    source.fetch_files(publication, folder, show)
    check_module(folder, publication, site)


def _take_heads(
    site: Site,
    arrived: list[tuple[Heads, bytes]],
    result: Intake,
    *,
    whole: bool,
    asked: tuple[str, ...] | None,
) -> None:
    held = load_heads(site)
    listed: dict[str, int] = {}
    for heads, envelope in arrived:
        listed[heads.site_id] = max(heads.sequence, listed.get(heads.site_id, 0))
        earlier = held.get(heads.site_id)
        own = heads.site_id == site.site_id
        if earlier is not None and heads.sequence < earlier.sequence:
            continue  # a replay; what it means is judged below
        if earlier is not None and heads.sequence == earlier.sequence:
            if heads == earlier:
                continue
            if not own:
                text = f"{heads.site_id} has signed two different heads numbered {heads.sequence}"
                result.suspicions += (Suspicion("forked", heads.site_id, text, proven=False),)
                continue
        if own:
            text = (
                f"this site has signed heads {heads.sequence}, its home knows of "
                f"{earlier.sequence if earlier else 0}: was it restored from a backup?"
            )
            result.suspicions += (Suspicion("restored", site.site_id, text),)
        store_heads(site, heads, envelope)
    if whole:
        judged = held if asked is None else {name: held[name] for name in asked if name in held}
        result.suspicions += find_rolled_back(listed, judged, site.site_id)


def refuse(
    site: Site, refused: dict[str, str], subject: str, reason: str, code: str | None = None
) -> None:
    """Note a refusal in a result and in the record."""
    raise_if_stopped()
    reason = printable(reason)
    if refused.get(subject) != reason:
        details = {"code": code} if code else {}
        site.log.append("refused", subject=subject, reason=reason[:300], **details)
    refused[subject] = reason


def refuse_module(site: Site, refused: dict[str, str], digest: str, error: RefusedError) -> None:
    """Delete a module that broke a rule, with all that came from it; remember why."""
    raise_if_stopped()
    for folder in (site.home.incoming, site.home.waiting, site.home.appraisal):
        remove_folder(folder(digest))
    code = error.refusal_code or error.error_code
    remember_refusal(site.home, digest, printable(error.message), code)
    refuse(site, refused, digest, error.message, code)


def printable(text: str) -> str:
    """Return text without what could act on a terminal: it may quote a stranger's file."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
