"""Send each finished module once: sign a publication, send the missing chunks, publish."""

from dataclasses import dataclass
from pathlib import Path

from client_agent.errors import NotReadyError, RefusedError, ReleaseRefusedError
from client_agent.module.packing import restore_replaced
from client_agent.progress import SILENT, Progress
from client_agent.registry.fitting import misfit
from client_agent.registry.freshness import heads_of
from client_agent.registry.modules import own_modules, place, read_card
from client_agent.registry.revocations import RevocationList, load_revocations
from client_agent.registry.specs import adopted_revisions
from client_agent.registry.statements import store_publication
from client_agent.registry.training_images import pending_withdrawal
from client_agent.relay.connection import open_relay
from client_agent.relay.pace import shown
from client_agent.site import Site
from client_agent.steps.heads import share_heads
from client_agent.steps.release import refuse_release, require_release
from client_agent.steps.renew import renew_if_due
from ff_protocol import dsse
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.manifest import MODULE_FILE, FileEntry, describe_module
from ff_protocol.names import Role
from ff_protocol.statements import Publication, build_publication, read_publication


@dataclass(frozen=True)
class SentModule:
    """One module's passage. `already_there`: an earlier send had completed."""

    class_name: str
    digest: str
    bytes_sent: int
    bytes_total: int
    already_there: bool


@dataclass(frozen=True)
class Sent:
    """What `send` did; `bytes_on_wire` counts payload in both directions."""

    modules: tuple[SentModule, ...]
    bytes_on_wire: int


def send(site: Site, progress: Progress = SILENT) -> Sent:
    """Send this site's modules; a rerun sends only what is missing.

    Raises:
        NotReadyError: nothing has been trained.
        NetworkError: the coordinator cannot be reached; nothing is lost.
        RefusedError: the coordinator refuses the module, with the reason.
        ReleaseRefusedError: this site's policy does not let some of the modules leave; the others
            have been sent.
    """
    restore_replaced(site.home)
    revoked = load_revocations(site.home, site.trust)
    folders = own_modules(site.home)
    if not folders:
        raise NotReadyError("there is no module to send", hint="run: ff-agent train --data PATH")
    sent: list[SentModule] = []
    refusals: list[ReleaseRefusedError] = []
    with open_relay(site) as relay:
        renew_if_due(site, relay, progress)
        held_back = pending_withdrawal(site.home)
        for class_name, folder in folders.items():
            if class_name in held_back:
                progress.note(f"{class_name}: a withdrawal is not finished; run it again first")
                continue
            digest, entries = describe_module(folder)
            if revoked.covering(digest, site.site_id):
                progress.note(f"{class_name}: its module is revoked and is not sent")
                continue
            unfit = misfit(read_card(folder), adopted_revisions(site))
            if unfit is not None:
                progress.note(f"{class_name}: its module is not sent: {unfit.text}")
                continue
            total = sum(entry.size for entry in entries.values())
            _check_size(class_name, entries, site)
            try:
                envelope = sign_publication(site, class_name, digest, entries)
            except ReleaseRefusedError as error:
                refusals.append(error)
                continue
            with progress.task(f"sending {class_name}", total) as task:
                result = relay.send_module(folder, envelope, entries, shown(task))
            use_here(site, digest, folder, envelope, revoked)
            sent.append(
                SentModule(class_name, digest, result.bytes_sent, total, result.already_there)
            )
            if not result.already_there:
                site.log.append("module_sent", module=digest, bytes=result.bytes_sent)
        share_heads(site, relay, progress)
        refuse_release(refusals)
        return Sent(tuple(sent), relay.bytes_sent + relay.bytes_received)


def _check_size(class_name: str, entries: dict[str, FileEntry], site: Site) -> None:
    """Refuse here what every other party would refuse after the transfer."""
    size, limit = entries[MODULE_FILE].size, site.spec.policy.max_module_bytes
    if size > limit:
        raise RefusedError(
            f"{class_name}: its module has {size:,} bytes, the federation accepts {limit:,}",
            hint="train with a smaller preset, or ask the operator to raise max_module_bytes",
        )


def sign_publication(
    site: Site,
    class_name: str,
    digest: str,
    entries: dict[str, FileEntry],
    supersedes: tuple[str, ...] = (),
) -> bytes:
    """Sign the publication if the module may leave, or take the one of an earlier attempt.

    Args:
        site: whose module it is.
        class_name: its class.
        digest: its identity.
        entries: its files.
        supersedes: own modules that are revoked in its favour.

    Raises:
        ReleaseRefusedError: this site's policy does not let it leave.
    """
    path = site.home.publications / f"{digest}.dsse"
    if path.exists():
        return read_bounded(path, MAX_ENVELOPE_BYTES, "publication")
    require_release(site, class_name, read_card(site.home.outbox / class_name))
    publication = Publication(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        class_name=class_name,
        module=digest,
        files=entries,
        published_at=timestamp(utc_now()),
        supersedes=supersedes,
        heads=heads_of(load_revocations(site.home, site.trust), site.site_id),
        record=site.log.head(),
    )
    envelope = dsse.sign(build_publication(publication), site.credential("signing"))
    store_publication(site.home, publication, envelope)
    return envelope


def use_here(
    site: Site, digest: str, folder: Path, envelope: bytes, revoked: RevocationList
) -> None:
    """Let this site's own module take part in its data set like everyone's.

    A successor waits until what it supersedes is revoked: nobody uses both.

    Args:
        site: whose module it is.
        digest: its identity.
        folder: where it lies in the outbox.
        envelope: its signed publication.
        revoked: the revocations on file.
    """
    payload = dsse.verify(envelope, site.trust, (Role.SITE,), at=utc_now(), held=True)
    limit = site.spec.policy.max_module_bytes
    superseded = read_publication(payload, max_module_bytes=limit).supersedes
    if not all(revoked.covering(old, site.site_id) for old in superseded):
        return
    destination = site.home.admitted(digest)
    if not destination.exists():
        place(folder, destination, copy=True)
        site.log.append("module_admitted", module=digest, site=site.site_id)
