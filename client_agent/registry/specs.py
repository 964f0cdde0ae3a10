"""Revisions of the federation spec at this site: received, in force, waiting for the admin.

`spec.dsse` is the one in force; `statements/specs/` holds every other one that this site has seen,
the later ones too. A revision is received only as the successor of the newest one here, and adopted
one after another: by itself where policy allows, by `ff-agent spec --accept` otherwise.
"""

from dataclasses import dataclass

from client_agent.policy.file import read_policy
from client_agent.registry.freshness import Suspicion
from client_agent.registry.refusals import forget_refusals, refusals
from client_agent.site import Site, read_spec_envelope
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Role
from ff_protocol.revisions import SpecRevision, check_follows, read_revision
from ff_protocol.spec_changes import Change, changes, check_change

AUTHORITY = str(Role.AUTHORITY)
BY_SPEC = ("unknown_class", "class_left", "image_shape", "too_large", "card", "structure")
"""Refusal codes that another revision of the spec may lift."""


@dataclass(frozen=True)
class RevisionTaken:
    """What a revision changed: remarks, and what does not fit."""

    notes: tuple[str, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()


def known_revisions(site: Site) -> dict[int, SpecRevision]:
    """Return every revision held here by number, the one in force included, each verified."""
    found = {site.revision.number: site.revision}
    for path in sorted(site.home.spec_revisions.glob("*.dsse")):
        envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "spec")
        revision = read_spec_envelope(envelope, site.trust, held=True)
        found.setdefault(revision.number, revision)
    return dict(sorted(found.items()))


def adopted_revisions(site: Site) -> tuple[SpecRevision, ...]:
    """Return the revisions up to the one in force, as far as they are known here, in order."""
    return tuple(
        revision
        for number, revision in known_revisions(site).items()
        if number <= site.revision.number
    )


def waiting_revisions(site: Site) -> tuple[SpecRevision, ...]:
    """Return the revisions after the one in force, in order."""
    return tuple(
        revision
        for number, revision in known_revisions(site).items()
        if number > site.revision.number
    )


def known_spec_envelopes(site: Site) -> set[str]:
    """Return the SHA-256 of every spec envelope held here."""
    paths = [site.home.spec_envelope, *site.home.spec_revisions.glob("*.dsse")]
    return {sha256_hex(read_bounded(path, MAX_ENVELOPE_BYTES, "spec")) for path in paths}


def take_revision(site: Site, payload: dsse.VerifiedPayload, envelope: bytes) -> RevisionTaken:
    """Keep a revision of the spec; adopt it if policy lets this site do so by itself.

    The caller holds the home's lock. `site` goes by the new revision as soon as it is adopted.

    Raises:
        MalformedError, SpecError: wrong form, or a change that may not be made.
        UntrustedError: not the authority's, or not the successor of the newest one here.
    """
    revision, known = read_revision(payload), known_revisions(site)
    same = known.get(revision.number)
    if same is not None:
        return RevisionTaken() if same.digest == revision.digest else _forked(revision)
    newest = known[max(known)]
    if revision.number < newest.number:
        after = known.get(revision.number + 1)
        if after is not None and after.previous != revision.digest:
            return _forked(revision)
        _store(site, revision, envelope)
        return RevisionTaken()
    check_follows(revision, newest)
    check_change((item.spec for item in known.values()), revision.spec)
    _store(site, revision, envelope)
    site.log.append("spec_received", revision=revision.number, spec=revision.digest)
    notes = [
        f"revision {revision.number} of the federation spec has come: {change.text}"
        for change in changes(newest.spec, revision.spec)
    ]
    adopted = adopt_by_policy(site)
    if site.revision.number < revision.number:
        notes.append(f"it waits for a decision: ff-agent spec --accept {revision.number}")
    notes += [f"revision {item.number} of the federation spec is in force here" for item in adopted]
    return RevisionTaken(tuple(notes))


def adopt_by_policy(site: Site) -> tuple[SpecRevision, ...]:
    """Adopt what waits, one revision after another, as far as policy allows without asking."""
    rule = read_policy(site.home).federation.accept_spec
    adopted = []
    for revision in waiting_revisions(site):
        additive = all(item.additive for item in changes(site.spec, revision.spec))
        if rule == "never" or (rule == "additive" and not additive):
            break
        adopt(site, revision, by="policy")
        adopted.append(revision)
    return tuple(adopted)


def adopt(site: Site, revision: SpecRevision, *, by: str) -> None:
    """Go by a revision that is held here. The caller holds the home's lock.

    What was refused under the spec before is judged anew. Interrupted, the old one is in force.
    """
    home = site.home
    envelope = read_bounded(
        home.spec_revisions / _name(revision.number), MAX_ENVELOPE_BYTES, "spec"
    )
    present = read_bounded(home.spec_envelope, MAX_ENVELOPE_BYTES, "spec")
    _store(site, site.revision, present)
    lifted = [digest for digest, item in refusals(home).items() if item.code in BY_SPEC]
    forget_refusals(home, lifted)
    write_atomically(home.spec_envelope, envelope)
    site.adopt(revision)
    site.log.append("spec_adopted", revision=revision.number, spec=revision.digest, by=by)


def pending_changes(site: Site) -> tuple[tuple[SpecRevision, tuple[Change, ...]], ...]:
    """Return each revision that waits, and what it changes against the one before it."""
    before, found = site.spec, []
    for revision in waiting_revisions(site):
        found.append((revision, changes(before, revision.spec)))
        before = revision.spec
    return tuple(found)


def _forked(revision: SpecRevision) -> RevisionTaken:
    text = f"the authority has signed two different federation specs numbered {revision.number}"
    return RevisionTaken(suspicions=(Suspicion("forked", AUTHORITY, text),))


def _store(site: Site, revision: SpecRevision, envelope: bytes) -> None:
    path = site.home.spec_revisions / _name(revision.number)
    if not path.exists():
        write_atomically(path, envelope)


def _name(number: int) -> str:
    return f"{number:08d}.dsse"
