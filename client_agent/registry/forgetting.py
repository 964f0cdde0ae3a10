"""Forgetting revoked modules: delete what came from them, note what must be rebuilt.

Order makes it crash-safe: the note (`unlearning.json`) is written before anything is deleted and
removed only after the certificate is written, so that a rerun after any interruption continues.
Deleting is idempotent.
"""

from dataclasses import dataclass
from typing import Any

from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.modules import admitted_modules, own_modules, remove_folder
from client_agent.registry.revocations import RevocationList
from client_agent.site import Site
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically
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
    """Delete every admitted or own module under a revocation, its shards and its classifiers.

    Returns:
        What is pending now, earlier interruptions included; None if nothing is.

    Raises:
        StorageError: the disk refused; run again.
    """
    doomed = _doomed(site, revoked)
    pending = _merge(read_pending(site), doomed, site)
    if pending is None:
        return None
    write_atomically(site.home.pending_unlearning, canonical.dumps(pending.to_dict()))
    own = {describe_module(folder)[0]: name for name, folder in own_modules(site.home).items()}
    for digest in pending.modules:
        if digest in own:
            remove_folder(site.home.outbox / own[digest])
            remove_folder(site.home.training(own[digest]))
        remove_folder(site.home.incoming(digest))
        remove_folder(site.home.shards / digest)
        removed = remove_folder(site.home.admitted(digest))
        if removed:
            site.log.append("module_forgotten", module=digest)
    record = read_fit_record(site.home)
    if record is not None and set(record.modules) & set(pending.modules):
        remove_folder(site.home.classifier.parent)
        site.log.append("classifier_deleted", classifier=record.classifier)
    return pending


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
    """Modules present here and revoked, each with the digest of the revocation."""
    present = {module.digest: module.card.site_id for module in admitted_modules(site.home)}
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
    affected = record is not None and bool(set(record.modules) & set(doomed))
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
