"""Send each finished module once: sign a publication, send the missing chunks, publish."""

from dataclasses import dataclass
from pathlib import Path

from client_agent.errors import NotReadyError, RefusedError
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules, place
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import store_publication
from client_agent.relay.connection import open_relay
from client_agent.relay.pace import shown
from client_agent.site import Site
from ff_protocol import dsse
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.manifest import MODULE_FILE, FileEntry, describe_module
from ff_protocol.statements import Publication, build_publication


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
    """
    revoked = load_revocations(site.home, site.trust)
    folders = own_modules(site.home)
    if not folders:
        raise NotReadyError("there is no module to send", hint="run: ff-agent train --data PATH")
    sent = []
    with open_relay(site) as relay:
        for class_name, folder in folders.items():
            digest, entries = describe_module(folder)
            if revoked.covering(digest, site.site_id):
                progress.note(f"{class_name}: its module is revoked and is not sent")
                continue
            total = sum(entry.size for entry in entries.values())
            _check_size(class_name, entries, site)
            envelope = sign_publication(site, class_name, digest, entries)
            with progress.task(f"sending {class_name}", total) as task:
                result = relay.send_module(folder, envelope, entries, shown(task))
            use_here(site, digest, folder)
            sent.append(
                SentModule(class_name, digest, result.bytes_sent, total, result.already_there)
            )
            if not result.already_there:
                site.log.append("module_sent", module=digest, bytes=result.bytes_sent)
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
    site: Site, class_name: str, digest: str, entries: dict[str, FileEntry]
) -> bytes:
    """Sign the publication, or take the one of an earlier attempt."""
    path = site.home.publications / f"{digest}.dsse"
    if path.exists():
        return read_bounded(path, MAX_ENVELOPE_BYTES, "publication")
    publication = Publication(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        class_name=class_name,
        module=digest,
        files=entries,
        published_at=timestamp(utc_now()),
    )
    envelope = dsse.sign(build_publication(publication), site.credential("signing"))
    store_publication(site.home, publication, envelope)
    return envelope


def use_here(site: Site, digest: str, folder: Path) -> None:
    """This site's own module takes part in its data set like everyone's."""
    destination = site.home.admitted(digest)
    if not destination.exists():
        place(folder, destination, copy=True)
        site.log.append("module_admitted", module=digest, site=site.site_id)
