"""Applying the revocations on file: successors come into use, then the revoked ones are forgotten.

A stored revocation is in force. Whatever an interruption left undone is done by the next call,
which every command that uses modules makes first.
"""

from pathlib import Path

from client_agent.errors import RefusedError
from client_agent.progress import SILENT, Progress
from client_agent.registry.forgetting import Pending, forget_revoked
from client_agent.registry.modules import own_modules, remove_folder
from client_agent.registry.refusals import remember_refusal
from client_agent.registry.revocations import RevocationList, load_revocations
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from ff_protocol.manifest import ALL_FILES, describe_module
from ff_protocol.statements import Publication


def apply_revocations(site: Site, progress: Progress = SILENT) -> Pending | None:
    """Do what the revocations on file order; return the unlearning that is pending, if any.

    Raises:
        StorageError: the disk refused; run again.
    """
    revoked = load_revocations(site.home, site.trust)
    _place_successors(site, revoked, progress)
    return forget_revoked(site, revoked)


def _place_successors(site: Site, revoked: RevocationList, progress: Progress) -> None:
    """Put successors into use that are here, fetched and whole."""
    wanted = {digest for entry in revoked.relayed for digest in entry.successors}
    wanted = {
        digest
        for digest in wanted
        if not site.home.admitted(digest).exists() and not site.home.waiting(digest).exists()
    }
    if not wanted:
        return
    own = {describe_module(folder)[0]: folder for folder in own_modules(site.home).values()}
    for publication in published_modules(site):
        digest = publication.module
        if digest not in wanted or revoked.covering(digest, publication.site_id):
            continue
        folder, copy = own.get(digest, site.home.incoming(digest)), digest in own
        if all((folder / name).is_file() for name in ALL_FILES):
            _admit(site, publication, folder, revoked, copy=copy, progress=progress)


def _admit(
    site: Site,
    publication: Publication,
    folder: Path,
    revoked: RevocationList,
    *,
    copy: bool,
    progress: Progress,
) -> None:
    from client_agent.module.admission import check_module, check_publication
    from client_agent.steps.admission import settle

    digest = publication.module
    try:
        check_publication(publication, site, revoked)
        check_module(folder, publication, site)
        settle(site, publication, folder, copy=copy, progress=progress)
    except RefusedError as error:
        if not copy:
            remove_folder(folder)
        remove_folder(site.home.appraisal(digest))
        code = error.refusal_code or error.error_code
        remember_refusal(site.home, digest, error.message, code)
        site.log.append("refused", subject=digest, reason=error.message[:300], code=code)
        progress.note(f"successor {digest[:12]} refused: {error.message}")
