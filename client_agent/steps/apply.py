"""Applying the revocations on file: successors come into use, then the revoked ones are forgotten.

A stored revocation is in force. Whatever an interruption left undone is done by the next call,
which every command that uses modules makes first.
"""

from pathlib import Path

from client_agent.errors import RefusedError
from client_agent.progress import SILENT, Progress
from client_agent.registry.forgetting import Pending, forget_revoked
from client_agent.registry.members import load_members
from client_agent.registry.modules import own_modules, place, remove_folder
from client_agent.registry.refusals import remember_refusal
from client_agent.registry.revocations import RevocationList, load_revocations
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from ff_protocol.clock import utc_now
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
    wanted = {digest for digest in wanted if not site.home.admitted(digest).exists()}
    if not wanted:
        return
    own = {describe_module(folder)[0]: folder for folder in own_modules(site.home).values()}
    for publication in published_modules(site):
        digest = publication.module
        if digest not in wanted or revoked.covering(digest, publication.site_id):
            continue
        folder, copy = own.get(digest, site.home.incoming(digest)), digest in own
        if all((folder / name).is_file() for name in ALL_FILES):
            _admit(site, publication, folder, copy=copy, progress=progress)


def _admit(
    site: Site, publication: Publication, folder: Path, *, copy: bool, progress: Progress
) -> None:
    from client_agent.module.admission import check_member, check_module

    try:
        check_member(publication, load_members(site, utc_now()))
        check_module(folder, publication, site)
    except RefusedError as error:
        if not copy:
            remove_folder(folder)
        remember_refusal(site.home, publication.module, error.message)
        site.log.append("refused", subject=publication.module, reason=error.message[:300])
        progress.note(f"successor {publication.module[:12]} refused: {error.message}")
        return
    place(folder, site.home.admitted(publication.module), copy=copy)
    site.log.append("module_admitted", module=publication.module, site=publication.site_id)
