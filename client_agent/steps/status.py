"""What is here: modules, shards, classifier, what is pending. Reads only; needs no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.audit.figures import JudgedFigure, judge
from client_agent.comparison.appraise import read_comparison
from client_agent.errors import RefusedError, UsageError
from client_agent.module.signing import check_signature
from client_agent.module.structure import check_structure
from client_agent.policy.file import read_policy
from client_agent.policy.release import Objection, objections
from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.forgetting import read_pending
from client_agent.registry.freshness import Suspicion
from client_agent.registry.heads import load_heads, suspicions
from client_agent.registry.members import load_members, roots_version
from client_agent.registry.modules import (
    admitted_modules,
    fits,
    own_modules,
    read_card,
    waiting_modules,
)
from client_agent.registry.refusals import refusals
from client_agent.registry.revocations import load_revocations
from client_agent.registry.specs import waiting_revisions
from client_agent.registry.statements import published_modules
from client_agent.service.record import service_status
from client_agent.site import Site
from client_agent.steps.renew import WARN_DAYS, Validity, validity
from client_agent.steps.spec import unusable
from client_agent.synthesis.dataset import plan_dataset
from client_agent.synthesis.shards import ShardStore
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.manifest import MODULE_FILE, describe_module
from ff_protocol.members import MemberList


@dataclass(frozen=True)
class Inspection:
    """One module, looked at closely.

    Attributes:
        digest: its identity.
        card: its card as plain values.
        files: name to size in bytes.
        weights: number of weights in the graph.
        problem: the first rule that does not hold, None if the module is sound.
        figures: the audit's figures, each beside the bound that this site holds its own modules to.
        objections: what stands against this module's release, if it is this site's own.
    """

    digest: str
    card: dict[str, Any]
    files: dict[str, int]
    weights: int | None
    problem: str | None
    figures: tuple[JudgedFigure, ...]
    objections: tuple[Objection, ...]


def status(site: Site) -> dict[str, Any]:
    """Return the site's state as plain values."""
    revoked = load_revocations(site.home, site.trust)
    record = read_fit_record(site.home)
    pending, refused = read_pending(site), refusals(site.home)
    store = ShardStore(site.home.shards, site.spec, site.trust.federation_id)
    certificates = validity(site, utc_now())
    members = load_members(site, utc_now())
    admitted = admitted_modules(site.home)
    plan = plan_dataset(admitted, site.spec)
    used = {portion.module.digest: portion.count for portion in plan}
    modules = [
        {
            "digest": module.digest,
            "class": module.card.class_name,
            "site": module.card.site_id,
            "samples": used.get(module.digest, 0),
            "synthesised": store.has(module.digest, used.get(module.digest, 0)),
            "suspicious": _suspicious(site, module.digest),
        }
        for module in admitted
    ]
    here = {module["digest"] for module in modules}
    usable = {module.digest for module in admitted if fits(module.card, site.spec)}
    return {
        "site": site.site_id,
        "home": str(site.home.root),
        "federation": site.identity.federation_name,
        "federation_id": site.trust.federation_id,
        "coordinator": site.identity.endpoint,
        "spec": {
            "revision": site.revision.number,
            "waiting": [revision.number for revision in waiting_revisions(site)],
        },
        "classes": list(site.spec.classes),
        "missing_classes": [
            name
            for name in site.spec.classes
            if name not in {module["class"] for module in modules if module["digest"] in used}
        ],
        "outbox": {
            name: {"digest": (digest := describe_module(folder)[0]), "sent": digest in here}
            for name, folder in own_modules(site.home).items()
        },
        "admitted": modules,
        "unusable": unusable(site),
        "revoked": [
            {"digest": item.module, "class": item.class_name, "site": item.site_id}
            for item in published_modules(site)
            if revoked.covering(item.module, item.site_id)
        ],
        "waiting": [
            {
                "digest": module.digest,
                "class": module.card.class_name,
                "site": module.card.site_id,
                "suspicious": _suspicious(site, module.digest),
            }
            for module in waiting_modules(site.home)
        ],
        "refused": {digest: item.reason for digest, item in refused.items()},
        "refusal_codes": {digest: item.code for digest, item in refused.items() if item.code},
        "classifier": None
        if record is None
        else {
            "digest": record.classifier,
            "classes": list(record.classes),
            "dataset_root": record.dataset_root,
            "samples": record.samples,
            "revision": record.state.revision,
            "up_to_date": set(record.modules) == usable
            and record.state.revision == site.revision.number,
        },
        "identity": {
            name: {"until": item.until, "days": item.days, "due": item.due}
            for name, item in certificates.items()
        },
        "roots": {
            "version": roots_version(site),
            "fingerprint": site.trust.fingerprint,
            "changing": len(site.trust.roots) > 1,
        },
        "expelled": sorted(members.sites()) if members else [],
        "heads": {
            name: {"sequence": heads.sequence, "expires_at": heads.expires_at}
            for name, heads in load_heads(site).items()
        },
        "warnings": [*_warnings(site, certificates, members), *_texts(suspicions(site))],
        "unlearning_pending": None if pending is None else list(pending.modules),
        "certificates": sorted(
            path.name for path in site.home.unlearning_certificates.glob("*.dsse")
        ),
        "service": service_status(site.home),
    }


def _suspicious(site: Site, digest: str) -> list[str]:
    comparison = read_comparison(site, digest)
    return [] if comparison is None else [flag["code"] for flag in comparison["flags"]]


def _warnings(
    site: Site, certificates: dict[str, Validity], members: MemberList | None
) -> list[str]:
    found = []
    for name, item in certificates.items():
        if item.days < WARN_DAYS:
            left = f"has {item.days} days left" if item.days >= 0 else "has expired"
            found.append(f"the {name} certificate {left}")
    if members is not None and site.site_id in members.sites():
        found.append("this site has been expelled from the federation: ask its operator why")
    return found


def _texts(found: tuple[Suspicion, ...]) -> list[str]:
    return [item.text for item in found]


def inspect(site: Site, name: str) -> Inspection:
    """Look closely at a module: its card, its files, and whether every rule holds.

    Args:
        site: whose trust root and spec apply.
        name: a digest (or a unique beginning) of an admitted or waiting module, a class in the
            outbox, or the path of a module folder.

    Raises:
        UsageError: no such module. MalformedError: not a module folder.
    """
    folder = _find(site, name)
    digest, entries = describe_module(folder)
    card = read_card(folder)
    weights, problem = None, None
    try:
        check_signature(folder, entries, card.site_id, site.trust, site.home.root_certificate)
        weights = check_structure(folder / MODULE_FILE, site.spec)
        revocation = load_revocations(site.home, site.trust).covering(digest, card.site_id)
        if revocation is not None:
            raise RefusedError(f"revoked by {revocation.issuer} on {revocation.issued_at}")
    except FederatedFactoryError as error:
        problem = error.message
    policy = read_policy(site.home).release
    return Inspection(
        digest=digest,
        card=card.model_dump(mode="json"),
        files={entry.name: entry.size for entry in entries.values()},
        weights=weights,
        problem=problem,
        figures=judge(card, policy.bounds(card)) if card.memorisation or card.fidelity else (),
        objections=objections(card, policy) if card.site_id == site.site_id else (),
    )


def _find(site: Site, name: str) -> Path:
    own = own_modules(site.home)
    if name in own:
        return own[name]
    matches = [
        module.folder
        for module in (*admitted_modules(site.home), *waiting_modules(site.home))
        if module.digest.startswith(name)
    ]
    if len(name) >= 8 and len(matches) == 1:
        return matches[0]
    if Path(name).is_dir():
        return Path(name)
    raise UsageError(
        f"{name!r} is neither a class in the outbox, nor a module's digest, nor a module folder",
        hint="ff-agent status lists the modules",
    )
