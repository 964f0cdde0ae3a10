"""Carry signed objects on a disk: export what a site holds, import what another one exported.

An import makes the same checks as receiving, since a bundle takes the coordinator's place in the
same function.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client_agent.bundle.reading import open_bundle
from client_agent.bundle.writing import write_bundle
from client_agent.errors import NotReadyError, ReleaseRefusedError, UsageError
from client_agent.progress import SILENT, Progress
from client_agent.registry.fitting import misfit
from client_agent.registry.modules import admitted_modules, own_modules, read_card
from client_agent.registry.revocations import RevocationList, load_revocations
from client_agent.registry.specs import adopted_revisions
from client_agent.registry.statements import published_modules
from client_agent.registry.training_images import pending_withdrawal
from client_agent.site import Site
from client_agent.steps.receive import Received, take_from
from client_agent.steps.release import refuse_release
from client_agent.steps.send import sign_publication, use_here
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.manifest import describe_module


@dataclass(frozen=True)
class Exported:
    """What a bundle holds: digests of modules, number of revocations, bytes of the file."""

    file: Path
    modules: tuple[str, ...]
    revocations: int
    size: int


def export_bundle(
    site: Site,
    path: Path,
    names: tuple[str, ...] = (),
    *,
    everything: bool = False,
    progress: Progress = SILENT,
) -> Exported:
    """Write a bundle with modules, their publications, and every federation-wide revocation.

    Args:
        site: who exports.
        path: the file to make.
        names: digests, or unique beginnings of at least 8 digits; none: this site's own modules.
        everything: every module that this site uses.
        progress: gets remarks.

    Raises:
        UsageError: an unknown module, or `path` exists.
        NotReadyError: there is nothing to export.
        ReleaseRefusedError: this site's policy does not let some of its modules leave; the bundle
            holds the others.
        StorageError: the disk refuses.
    """
    revoked = load_revocations(site.home, site.trust)
    refusals = _announce_own(site, revoked, progress)
    publications = {item.module: item for item in published_modules(site)}
    folders = {describe_module(path)[0]: path for path in own_modules(site.home).values()}
    folders |= {module.digest: module.folder for module in admitted_modules(site.home)}
    usable = {
        digest: folder
        for digest, folder in folders.items()
        if digest in publications and not revoked.covering(digest, publications[digest].site_id)
    }
    if everything:
        chosen = sorted(usable)
    elif names:
        chosen = sorted({_resolve(name, usable) for name in names})
    else:
        chosen = sorted(digest for digest in usable if publications[digest].site_id == site.site_id)
    if not chosen:
        refuse_release(refusals)
    if not chosen and not revoked.relayed:
        raise NotReadyError("there is nothing to export", hint="run: ff-agent train --data PATH")
    size = write_bundle(
        path,
        site.trust.federation_id,
        site.site_id,
        _envelopes(site, revoked, chosen),
        [(digest, usable[digest]) for digest in chosen],
    )
    site.log.append("bundle_exported", modules=chosen, bytes=size)
    refuse_release(refusals)
    return Exported(path, tuple(chosen), len(revoked.relayed), size)


def import_bundle(site: Site, path: Path, progress: Progress = SILENT) -> Received:
    """Take from a bundle what is new, with every check that receiving makes.

    Raises:
        UsageError: there is no such file.
        MalformedError, RefusedError: the bundle as a whole breaks a rule; nothing was taken.
        StorageError: the disk refuses; import again to go on.
    """
    result = Received()
    limit = site.spec.policy.max_module_bytes
    with open_bundle(path, site.trust.federation_id, limit) as bundle:
        take_from(site, bundle, result, progress, offers=bundle.offers)
        site.log.append("bundle_imported", admitted=result.admitted, revocations=result.revocations)
    return result


def _announce_own(
    site: Site, revoked: RevocationList, progress: Progress
) -> list[ReleaseRefusedError]:
    """Sign the publications of own modules that no network has seen yet; return refusals."""
    refusals: list[ReleaseRefusedError] = []
    held_back = pending_withdrawal(site.home)
    for class_name, folder in own_modules(site.home).items():
        digest, entries = describe_module(folder)
        if class_name in held_back:
            progress.note(f"{class_name}: a withdrawal is not finished; run it again first")
        elif revoked.covering(digest, site.site_id):
            progress.note(f"{class_name}: its module is revoked and is not exported")
        elif (unfit := misfit(read_card(folder), adopted_revisions(site))) is not None:
            progress.note(f"{class_name}: its module is not exported: {unfit.text}")
        else:
            try:
                envelope = sign_publication(site, class_name, digest, entries)
            except ReleaseRefusedError as error:
                refusals.append(error)
                continue
            use_here(site, digest, folder, envelope, revoked)
    return refusals


def _envelopes(site: Site, revoked: RevocationList, modules: list[str]) -> Iterator[bytes]:
    specs = {path.name: path for path in site.home.spec_revisions.glob("*.dsse")}
    if specs:  # else there is the first revision only, which every site has
        specs.setdefault(f"{site.revision.number:08d}.dsse", site.home.spec_envelope)
    roots = sorted(site.home.trust_statements.glob("*.dsse"))
    for path in (*roots, *(specs[name] for name in sorted(specs)), site.home.members):
        if path.exists():
            yield read_bounded(path, MAX_ENVELOPE_BYTES, "statement")
    for entry in revoked.relayed:  # ordered by issuer and sequence
        name = f"{entry.issuer}-{entry.sequence:08d}.dsse"
        yield read_bounded(site.home.revocations / name, MAX_ENVELOPE_BYTES, "revocation")
    for digest in modules:
        path = site.home.publications / f"{digest}.dsse"
        yield read_bounded(path, MAX_ENVELOPE_BYTES, "publication")


def _resolve(name: str, usable: dict[str, Path]) -> str:
    matches = [digest for digest in usable if digest.startswith(name.lower())]
    if len(name) >= 8 and len(matches) == 1:
        return matches[0]
    raise UsageError(
        f"no module {name!r} in use here", hint="ff-agent status lists the modules in use"
    )
