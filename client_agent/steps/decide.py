"""The admin decides: look at a module that waits, admit it, refuse it, trust its site."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.comparison.appraise import read_comparison
from client_agent.errors import RefusedError, UsageError
from client_agent.module.admission import check_module, check_publication
from client_agent.policy.file import read_policy
from client_agent.registry.modules import AdmittedModule, waiting_modules
from client_agent.registry.refusals import forget_refusal, refusals
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.registry.trusted_sites import store_trusted_sites, trusted_sites
from client_agent.site import Site
from client_agent.steps.admission import admit_from
from client_agent.steps.intake import refuse_module
from ff_protocol.errors import MalformedError
from ff_protocol.names import check_site_id
from ff_protocol.statements import MAX_REASON_CHARACTERS, Publication

SHEET_IMAGES, SHEET_COLUMNS = 64, 16
ADMIN = "admin"
"""Refusal code of what a person refused."""


@dataclass(frozen=True)
class Waiting:
    """A module that waits for a decision.

    Attributes:
        digest: its identity.
        card: its card as plain values.
        comparison: how its samples compare with other modules', None if policy compares none.
        contact_sheet: a PNG of its first 64 samples, None in a list.
    """

    digest: str
    card: dict[str, Any]
    comparison: dict[str, Any] | None
    contact_sheet: Path | None = None


@dataclass(frozen=True)
class Decided:
    """What became of a module: `admitted`, `refused` or `reconsidered`."""

    digest: str
    class_name: str | None
    site_id: str | None
    decision: str


def list_waiting(site: Site) -> tuple[Waiting, ...]:
    """Return the modules that wait for a decision, ordered by digest."""
    return tuple(_describe(site, module) for module in waiting_modules(site.home))


def look_at(site: Site, name: str) -> Waiting:
    """Show a waiting module: its card, how it compares, and a contact sheet of 64 samples.

    Args:
        site: who looks.
        name: its digest, or a unique beginning of at least 8 digits.

    Raises:
        UsageError: no such module waits.
        RefusedError: it does not run any more.
    """
    from client_agent.comparison.samples import first_samples
    from client_agent.report.contact_sheet import write_contact_sheet

    module = _find(site, name)
    samples = first_samples(site, module.digest, module.model, SHEET_IMAGES)
    rows = [
        samples[start : start + SHEET_COLUMNS] for start in range(0, len(samples), SHEET_COLUMNS)
    ]
    sheet = site.home.appraisal(module.digest) / "contact-sheet.png"
    write_contact_sheet(rows, sheet, SHEET_COLUMNS)
    return _describe(site, module, sheet)


def admit(site: Site, name: str) -> Decided:
    """Put a waiting module into use, if every rule still holds.

    Raises:
        UsageError: no such module waits.
        RefusedError: a rule does not hold any more: it is deleted.
    """
    module = _find(site, name)
    publication = _publication(site, module)
    try:
        check_publication(publication, site, load_revocations(site.home, site.trust))
        check_module(module.folder, publication, site)
    except RefusedError as error:
        refuse_module(site, {}, module.digest, error)
        raise
    admit_from(site, publication, module.folder, by="admin")
    return _decided(module, "admitted")


def refuse(site: Site, name: str, reason: str = "") -> Decided:
    """Delete a waiting module and all that came from it; what is left is the record.

    Args:
        site: who refuses.
        name: its digest, or a unique beginning.
        reason: stays in this home.

    Raises:
        UsageError: no such module waits, or the reason is too long.
    """
    if len(reason) > MAX_REASON_CHARACTERS:
        raise UsageError(f"the reason may have {MAX_REASON_CHARACTERS} characters")
    module = _find(site, name)
    text = f"refused by this site's admin{': ' if reason else ''}{reason}"
    refuse_module(site, {}, module.digest, RefusedError(text, refusal_code=ADMIN))
    return _decided(module, "refused")


def reconsider(site: Site, name: str) -> Decided:
    """Forget a refusal, so that the next `receive` fetches the object and judges it again.

    Raises:
        UsageError: nothing of this name has been refused.
    """
    digest = _resolve(name, list(refusals(site.home)), "has been refused")
    forget_refusal(site.home, digest)
    site.log.append("refusal_withdrawn", subject=digest)
    found = [item for item in published_modules(site) if item.module == digest]
    of = found[0] if found else None
    return Decided(
        digest, of.class_name if of else None, of.site_id if of else None, "reconsidered"
    )


def trust(site: Site, name: str, *, trusted: bool = True) -> frozenset[str]:
    """Have a site's modules admitted without asking from now on, or ask again.

    What waits already goes on waiting.

    Returns:
        All sites that are trusted now, those of `policy.yaml` included.

    Raises:
        UsageError: not a site's name, or `policy.yaml` says otherwise.
    """
    try:
        check_site_id(name)
    except MalformedError as error:
        raise UsageError(error.message, hint="ff-agent status lists the sites") from error
    policy = read_policy(site.home).admission
    contrary = policy.refused_sites if trusted else policy.trusted_sites
    if name in contrary:
        raise UsageError(
            f"policy.yaml says that {name} is {'refused' if trusted else 'trusted'}",
            hint=f"change it in {site.home.policy_file}",
        )
    before = trusted_sites(site.home)
    after = before | {name} if trusted else before - {name}
    if after != before:
        store_trusted_sites(site.home, after)
        site.log.append("site_trusted" if trusted else "site_trust_withdrawn", site=name)
    return after | frozenset(policy.trusted_sites)


def _describe(site: Site, module: AdmittedModule, sheet: Path | None = None) -> Waiting:
    card = module.card.model_dump(mode="json")
    return Waiting(module.digest, card, read_comparison(site, module.digest), sheet)


def _find(site: Site, name: str) -> AdmittedModule:
    modules = {module.digest: module for module in waiting_modules(site.home)}
    return modules[_resolve(name, list(modules), "waits for a decision", refusals(site.home))]


def _resolve(
    name: str, digests: list[str], what: str, refused: "dict[str, Any] | None" = None
) -> str:
    matches = [digest for digest in digests if digest.startswith(name.lower())]
    if len(name) >= 8 and len(matches) == 1:
        return matches[0]
    hint = "ff-agent status lists the modules; give at least 8 digits of one digest"
    if len(name) >= 8 and any(digest.startswith(name.lower()) for digest in refused or ()):
        hint = f"it was refused: ff-agent refuse {name} --undo has it fetched and judged again"
    raise UsageError(f"no module {name!r} {what}", hint=hint)


def _publication(site: Site, module: AdmittedModule) -> Publication:
    for publication in published_modules(site):
        if publication.module == module.digest:
            return publication
    raise UsageError(
        f"the publication of {module.digest[:12]} is not here any more",
        hint="run: ff-agent receive",
    )


def _decided(module: AdmittedModule, decision: str) -> Decided:
    return Decided(module.digest, module.card.class_name, module.card.site_id, decision)
