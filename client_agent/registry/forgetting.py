"""Forgetting revoked modules: delete what came from them, note what must be rebuilt.

Order makes it crash-safe: the note (`unlearning.json`) is written before anything is deleted and
removed only after the certificate is written, so that a rerun after any interruption continues.
Deleting is idempotent, and half-deleted or half-written folders of an interrupted command are swept
away with it: they may hold what is to be forgotten.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.modules import admitted_modules, own_modules, remove_folder
from client_agent.registry.private_files import forget_private
from client_agent.registry.revocations import RevocationList
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from client_agent.upgrade.backups import set_aside_classifiers, set_aside_modules
from ff_protocol import canonical
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.manifest import describe_module


@dataclass(frozen=True)
class Pending:
    """Unlearning that has been ordered and is not certified yet.

    Attributes:
        modules: digests being forgotten.
        statements: digests of the revocations that ordered it.
        root_before: the data set's root before, None if there was no classifier.
        classifier_before: the classifier's SHA-256 before, None if there was none.
        refit: whether a classifier made with them has to be rebuilt.
    """

    modules: tuple[str, ...]
    statements: tuple[str, ...]
    root_before: str | None
    classifier_before: str | None
    refit: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "modules": list(self.modules),
            "statements": list(self.statements),
            "root_before": self.root_before,
            "classifier_before": self.classifier_before,
            "refit": self.refit,
        }


def forget_revoked(site: Site, revoked: RevocationList) -> Pending | None:
    """Delete every module under a revocation, its downloads, its shards and its classifiers.

    Returns:
        What is pending now, earlier interruptions included; None if nothing is.

    Raises:
        StorageError: the disk refused; run again.
    """
    _discard_downloads(site, revoked)
    forget_backups(site, revoked)
    doomed = _doomed(site, revoked)
    pending = _merge(read_pending(site), doomed, site)
    if pending is None:
        return None
    write_atomically(site.home.pending_unlearning, canonical.dumps(pending.to_dict()))
    for digest in pending.modules:
        _forget_training(site, digest)
        remove_folder(site.home.shards / digest)
        remove_folder(site.home.appraisal(digest))
        if site.home.admitted(digest).is_dir():
            site.log.append("module_forgotten", module=digest)
        remove_folder(site.home.admitted(digest))
    record = read_fit_record(site.home)
    unknown = record is None and site.home.classifier.parent.is_dir()
    if unknown or (record is not None and set(record.modules) & set(pending.modules)):
        # A classifier whose record an interruption took away may have been made with them.
        site.log.append("classifier_deleted", classifier=record.classifier if record else None)
        remove_folder(site.home.classifier.parent)
    _sweep(site)
    return pending


def _forget_training(site: Site, digest: str) -> None:
    """Delete what this site keeps of an own module: checkpoint, outbox, private files."""
    own = {describe_module(folder)[0]: name for name, folder in own_modules(site.home).items()}
    names = {item.module: item.class_name for item in published_modules(site, of_site=site.site_id)}
    name = own.get(digest, names.get(digest))
    if name is None:
        return
    if digest in own or name not in own.values():  # a successor keeps what is its own
        remove_folder(site.home.training(name))
    if digest in own:
        remove_folder(site.home.outbox / name)
    forget_private(site.home, digest)


def _discard_downloads(site: Site, revoked: RevocationList) -> None:
    """Delete what was fetched of modules that were revoked before they were admitted."""
    home = site.home
    if not any((home.root / name).is_dir() for name in ("incoming", "waiting")):
        return
    for publication in published_modules(site):
        digest = publication.module
        folders = [home.incoming(digest), home.waiting(digest)]
        here = any(folder.is_dir() for folder in folders)
        if here and revoked.covering(digest, publication.site_id):
            site.log.append("download_discarded", module=digest)
            for folder in (home.appraisal(digest), *folders):
                remove_folder(folder)


def forget_backups(site: Site, revoked: RevocationList) -> None:
    """Delete what upgrades set aside of revoked modules, and of classifiers made with them."""
    if not site.home.backups.is_dir():
        return
    for module in set_aside_modules(site.home):
        if revoked.covering(module.digest, module.site_id):
            site.log.append("module_forgotten", module=module.digest)
            remove_folder(module.folder)
    gone = {
        item.module
        for item in published_modules(site)
        if revoked.covering(item.module, item.site_id)
    }
    for folder, record in set_aside_classifiers(site.home):
        # One without a record may have been made with any module.
        if gone and (record is None or any(digest in record for digest in gone)):
            remove_folder(folder)


def _sweep(site: Site) -> None:
    """Delete what interrupted commands left of folders and files."""
    home = site.home
    folders = (
        *(home.root, home.outbox, home.root / "admitted", home.root / "incoming"),
        *(home.root / "waiting", home.root / "appraisals"),
        *(home.shards, home.root / "training", home.classifier.parent),
    )
    for folder in folders:
        for pattern in (".*.deleted", ".*.part"):
            for path in folder.glob(pattern) if folder.is_dir() else ():
                _delete(path)
    _delete(home.outbox / ".building")


def _delete(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def read_pending(site: Site) -> Pending | None:
    """Return the unlearning that is under way, if any."""
    path = site.home.pending_unlearning
    if not path.is_file():
        return None
    value = canonical.loads(
        read_bounded(path, MAX_ENVELOPE_BYTES, "note"), max_bytes=MAX_ENVELOPE_BYTES
    )
    return Pending(
        modules=tuple(value["modules"]),
        statements=tuple(value["statements"]),
        root_before=value["root_before"],
        classifier_before=value["classifier_before"],
        refit=bool(value["refit"]),
    )


def _doomed(site: Site, revoked: RevocationList) -> dict[str, str]:
    """Modules revoked that are here or in the classifier, each with the revocation's digest."""
    present = {module.digest: module.card.site_id for module in admitted_modules(site.home)}
    record = read_fit_record(site.home)
    if record is not None and (aside := set(record.modules) - set(present)):
        # Set aside since the classifier was made with them.
        present |= {
            item.module: item.site_id for item in published_modules(site) if item.module in aside
        }
    for folder in own_modules(site.home).values():
        present[describe_module(folder)[0]] = site.site_id
    found = {}
    for digest, site_id in present.items():
        revocation = revoked.covering(digest, site_id)
        if revocation is not None:
            found[digest] = revocation.digest
    return found


def _merge(earlier: Pending | None, doomed: dict[str, str], site: Site) -> Pending | None:
    if not doomed:
        return earlier
    record = read_fit_record(site.home)
    if record is None:  # an interrupted fit may have left a classifier without its record
        affected = site.home.classifier.is_file()
    else:
        affected = bool(set(record.modules) & set(doomed))
    before = earlier or Pending(
        modules=(),
        statements=(),
        root_before=record.dataset_root if record else None,
        classifier_before=record.classifier if record else None,
        refit=False,
    )
    return Pending(
        modules=tuple(sorted({*before.modules, *doomed})),
        statements=tuple(sorted({*before.statements, *doomed.values()})),
        root_before=before.root_before,
        classifier_before=before.classifier_before,
        refit=before.refit or affected,
    )
