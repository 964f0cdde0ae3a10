"""After the rules: compare a module with what is known here, decide, and put it where it belongs.

A module that broke no rule is admitted, waits for the admin, or is refused, as `policy.yaml` says.
"""

from pathlib import Path
from typing import Literal

from client_agent.errors import RefusedError
from client_agent.module.admission import policy_for
from client_agent.policy.admission import AdmissionPolicy
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import place
from client_agent.registry.trusted_sites import trusted_sites
from client_agent.site import Site
from ff_protocol.manifest import MODULE_FILE
from ff_protocol.statements import Publication

Settled = Literal["admitted", "waiting"]


def settle(
    site: Site,
    publication: Publication,
    folder: Path,
    *,
    copy: bool = False,
    progress: Progress = SILENT,
) -> Settled:
    """Decide on a module that has broken no rule, and place it in `admitted/` or `waiting/`.

    Args:
        site: who decides.
        publication: whose module it is, and of which class.
        folder: where it lies.
        copy: leave it there, too.
        progress: hears of what is suspicious.

    Raises:
        RefusedError: its images are no images, or it is suspicious and policy refuses such.
        StorageError: the disk refused; it lies where it lay.
    """
    policy = policy_for(publication, site)
    suspicious = _suspicious(site, publication, folder, policy, progress)
    decision = policy.decision(
        publication.site_id, trusted=trusted_sites(site.home), suspicious=suspicious
    )
    if decision == "admit":
        admit_from(site, publication, folder, copy=copy, by="policy")
        return "admitted"
    place(folder, site.home.waiting(publication.module), copy=copy)
    site.log.append("module_waiting", module=publication.module, site=publication.site_id)
    progress.note(
        f"{publication.class_name} from {publication.site_id} waits for a decision: "
        f"ff-agent admit {publication.module[:12]}"
    )
    return "waiting"


def admit_from(
    site: Site,
    publication: Publication,
    folder: Path,
    *,
    copy: bool = False,
    by: Literal["policy", "admin"],
) -> None:
    """Put a module into use."""
    place(folder, site.home.admitted(publication.module), copy=copy)
    site.log.append("module_admitted", module=publication.module, site=publication.site_id, by=by)


def _suspicious(
    site: Site, publication: Publication, folder: Path, policy: AdmissionPolicy, progress: Progress
) -> bool:
    """Compare its images with those of other modules; note what is suspicious."""
    if not policy.compare_samples:
        return False
    from client_agent.comparison.appraise import appraise
    from client_agent.comparison.findings import find_flags

    digest, name = publication.module, publication.class_name
    with progress.task(f"comparing {name} from {publication.site_id}", 1) as task:
        seen = appraise(site, digest, name, folder / MODULE_FILE, policy.compare_samples)
        task.update(1)
    flags = find_flags(seen)
    if not flags:
        return False
    site.log.append("module_suspicious", module=digest, **seen.to_dict())
    if policy.on_poison == "refuse":
        raise RefusedError(flags[0].text, refusal_code=flags[0].code)
    for flag in flags:
        progress.note(f"suspicious: {name} from {publication.site_id}: {flag.text}")
    return True
