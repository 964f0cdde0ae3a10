"""Whether a foreign module may be used here: a list of rules, each with its own refusal code.

Read `OFFER_RULES` and `MODULE_RULES` from top to bottom: that is the order in which they are
applied, from cheap to dear and from outside to inside. Nothing is fetched or parsed before its size
is known, nothing is believed before its signature holds, nothing is run before its structure is
known. The first rule that does not hold refuses the module. What comes after the rules, comparing
its images with others' and deciding, is in client_agent/steps/admission.py.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from client_agent.errors import AgentError, RefusedError, ResourceError
from client_agent.module.card_text import check_text
from client_agent.module.signing import check_signature
from client_agent.module.structure import check_structure
from client_agent.policy.admission import AdmissionPolicy
from client_agent.policy.file import read_policy
from client_agent.registry.fitting import class_indices, class_misfit, image_misfit
from client_agent.registry.members import load_members
from client_agent.registry.modules import read_card
from client_agent.registry.revocations import RevocationList
from client_agent.registry.specs import adopted_revisions
from client_agent.sandbox.layers import layers_in_force
from client_agent.site import Site
from client_agent.synthesis.session import probe_module
from ff_protocol.card import Card
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.manifest import MODULE_FILE, FileEntry, describe_module
from ff_protocol.members import MemberList
from ff_protocol.revisions import SpecRevision
from ff_protocol.statements import Publication

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """One demand. `check` raises if it does not hold; `code` is its stable identifier."""

    code: str
    check: Callable[[Subject], object]


@dataclass(frozen=True)
class Offer:
    """What is known of a module before a byte of it is fetched."""

    publication: Publication
    site: Site
    policy: AdmissionPolicy
    revoked: RevocationList
    members: MemberList | None

    @cached_property
    def revisions(self) -> tuple[SpecRevision, ...]:
        """Of the federation spec, the one in force last."""
        return adopted_revisions(self.site)


@dataclass(frozen=True)
class Candidate:
    """A module as received, in a folder of its own."""

    folder: Path
    publication: Publication
    site: Site
    policy: AdmissionPolicy

    @cached_property
    def description(self) -> tuple[str, dict[str, FileEntry]]:
        """Digest and files as hashed here."""
        return describe_module(self.folder)

    @cached_property
    def card(self) -> Card:
        """Its card."""
        return read_card(self.folder)


@dataclass(frozen=True)
class Carded:
    """A module of which the card is here; the whole module may be."""

    card: Card
    publication: Publication
    site: Site
    policy: AdmissionPolicy


def check_publication(publication: Publication, site: Site, revoked: RevocationList) -> None:
    """Decide from the signed publication alone, before a byte of the module is fetched.

    Raises:
        RefusedError: with the code of the first of OFFER_RULES that does not hold.
        SpecError: this site's policy is not one.
    """
    policy, members = policy_for(publication, site), load_members(site, utc_now())
    _apply(OFFER_RULES, Offer(publication, site, policy, revoked, members))


def acceptable(
    publications: Iterable[Publication], site: Site, revoked: RevocationList
) -> list[Publication]:
    """Return those publications that `check_publication` lets pass; policy is read once.

    Raises:
        SpecError: this site's policy is not one.
    """
    theirs, own = read_policy(site.home).admission, AdmissionPolicy(compare_samples=0)
    members = load_members(site, utc_now())
    passing = []
    for publication in publications:
        policy = own if publication.site_id == site.site_id else theirs
        try:
            _apply(OFFER_RULES, Offer(publication, site, policy, revoked, members))
        except RefusedError:
            continue
        passing.append(publication)
    return passing


def check_card(card: Card, publication: Publication, site: Site, policy: AdmissionPolicy) -> None:
    """Decide on the card of a module that has not been fetched.

    Raises:
        RefusedError: it disagrees with publication or spec, or lacks a figure that policy demands.
    """
    _apply(CARD_RULES, Carded(card, publication, site, policy))


def check_module(folder: Path, publication: Publication, site: Site) -> Card:
    """Decide on the module as received.

    Args:
        folder: holds exactly the three files.
        publication: what its publisher signed.
        site: this site, with the federation's root and spec, and its policy.

    Returns:
        The module's card, which agrees with the publication and the spec.

    Raises:
        RefusedError: with the code of the first of MODULE_RULES that does not hold.
        SpecError: this site's policy is not one.
        ResourceError: it cannot be tried out on this machine.
    """
    candidate = Candidate(folder, publication, site, policy_for(publication, site))
    _apply(MODULE_RULES, candidate)
    return candidate.card


def policy_for(publication: Publication, site: Site) -> AdmissionPolicy:
    """Return this site's policy; what it demands of others does not concern its own modules.

    Raises:
        SpecError: `policy.yaml` is not one.
    """
    if publication.site_id == site.site_id:
        return AdmissionPolicy(compare_samples=0)
    return read_policy(site.home).admission


def _apply(rules: Iterable[Rule[Subject]], subject: Subject) -> None:
    for rule in rules:
        try:
            rule.check(subject)
        except RefusedError as error:
            error.refusal_code = error.refusal_code or rule.code
            raise
        except AgentError:  # this machine's fault, not the module's
            raise
        except FederatedFactoryError as error:
            raise RefusedError(error.message, refusal_code=rule.code) from error


def _not_revoked(offer: Offer) -> None:
    publication = offer.publication
    revocation = offer.revoked.covering(publication.module, publication.site_id)
    if revocation is not None:
        raise RefusedError(f"revoked by {revocation.issuer} on {revocation.issued_at}")


def _site_is_member(offer: Offer) -> None:
    """A site that was expelled brings nothing new."""
    publication, members = offer.publication, offer.members
    entry = members and members.refuses(publication.module, publication.site_id)
    if entry:
        raise RefusedError(
            f"{entry.site_id} was expelled on {entry.expelled_at}, and this is published since"
        )


def _site_welcome(offer: Offer) -> None:
    name = offer.publication.site_id
    if name in offer.policy.refused_sites:
        raise RefusedError(f"this site's policy refuses modules of {name}")


def _class_in_spec(offer: Offer) -> None:
    found = class_misfit(offer.publication.class_name, offer.revisions)
    if found is not None:
        raise RefusedError(found.text, refusal_code=found.code)


def _size_within_limits(offer: Offer) -> None:
    limit = offer.policy.limits.tighten(offer.site.spec).policy.max_module_bytes
    size = offer.publication.files[MODULE_FILE].size
    if size > limit:
        raise RefusedError(f"{MODULE_FILE}: {size:,} bytes, at most {limit:,} are accepted")


def _files_as_published(candidate: Candidate) -> None:
    """Exactly three regular files of the published sizes; only then are they hashed."""
    publication = candidate.publication
    for name, entry in publication.files.items():
        path = candidate.folder / name
        if not path.is_symlink() and path.is_file() and path.stat().st_size != entry.size:
            raise RefusedError("the files received are not the ones published")
    digest, entries = candidate.description
    if digest != publication.module or entries != publication.files:
        raise RefusedError("the files received are not the ones published")


def _signed_by_publisher(candidate: Candidate) -> None:
    site = candidate.site
    _, entries = candidate.description
    check_signature(
        candidate.folder,
        entries,
        candidate.publication.site_id,
        site.trust,
        site.home.root_certificate,
    )


def _shape_in_force(candidate: Candidate | Carded) -> None:
    """A module made before the images changed is refused by a code of its own."""
    try:
        image = candidate.card.image
    except FederatedFactoryError:
        return  # no card at all: the next rule says so
    found = image_misfit(image, adopted_revisions(candidate.site))
    if found is not None:
        raise RefusedError(found.text, refusal_code=found.code)


def _card_agrees(candidate: Candidate | Carded) -> None:
    card, publication, site = candidate.card, candidate.publication, candidate.site
    indices = class_indices(publication.class_name, adopted_revisions(site))
    index = site.spec.class_index(publication.class_name)
    expected = {
        "federation_id": site.trust.federation_id,
        "site_id": publication.site_id,
        "class_name": publication.class_name,
        # Classes may have left since: the card states the index of its own time.
        "class_index": card.class_index if card.class_index in indices else index,
        "image": site.spec.image,
    }
    for key, value in expected.items():
        found = getattr(card, key)
        if found != value:
            raise RefusedError(f"card.json says {key} is {_short(found)}, not {_short(value)}")
    check_text(card)


def _figures_as_demanded(candidate: Candidate | Carded) -> None:
    problem = candidate.policy.missing_figure(candidate.card)
    if problem is not None:
        raise RefusedError(f"card.json: {problem}")


def _structure_allowed(candidate: Candidate) -> None:
    limits = candidate.policy.limits
    spec = limits.tighten(candidate.site.spec)
    check_structure(candidate.folder / MODULE_FILE, spec, limits.max_operators)


def _confined(candidate: Candidate) -> None:
    """Not the module's fault, so nothing is refused: the admin mends the machine or the policy."""
    demanded = candidate.policy.require_sandbox_layers
    missing = sorted(set(demanded) - layers_in_force()) if demanded else []
    if missing:
        raise ResourceError(
            f"this site's policy demands sandbox layers that this machine lacks: "
            f"{', '.join(missing)}",
            hint="ff-agent doctor says what each needs; or see require_sandbox_layers in "
            "policy.yaml",
        )


def _first_run(candidate: Candidate) -> None:
    site = candidate.site
    probe_module(
        candidate.folder / MODULE_FILE,
        candidate.publication.module,
        site.spec,
        site.trust.federation_id,
    )


def _short(value: object) -> str:
    plain = value.model_dump() if hasattr(value, "model_dump") else value
    return json.dumps(plain)[:80]


OFFER_RULES: tuple[Rule[Offer], ...] = (
    Rule("revoked", _not_revoked),
    Rule("expelled", _site_is_member),
    Rule("refused_site", _site_welcome),
    Rule("unknown_class", _class_in_spec),
    Rule("too_large", _size_within_limits),
)
"""Before a byte is fetched."""

CARD_RULES: tuple[Rule[Carded], ...] = (
    Rule("card", _card_agrees),
    Rule("figures", _figures_as_demanded),
)
"""On a card alone, where modules are chosen by it; MODULE_RULES ask the same again."""

MODULE_RULES: tuple[Rule[Candidate], ...] = (
    Rule("files", _files_as_published),
    Rule("signature", _signed_by_publisher),
    Rule("image_shape", _shape_in_force),
    Rule("card", _card_agrees),
    Rule("figures", _figures_as_demanded),
    Rule("structure", _structure_allowed),
    Rule("sandbox", _confined),
    Rule("first_run", _first_run),
)
"""On the files as received."""
