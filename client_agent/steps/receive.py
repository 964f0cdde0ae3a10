"""Fetch what is new: revocations first, then modules, each admitted or refused with its reason."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from client_agent.errors import NetworkError, RefusedError, WaitTimeoutError
from client_agent.module.admission import check_module, check_publication
from client_agent.progress import SILENT, Progress
from client_agent.registry.forgetting import Pending, forget_revoked
from client_agent.registry.modules import (
    own_modules,
    place,
    remove_folder,
)
from client_agent.registry.refusals import refusals, remember_refusal
from client_agent.registry.revocations import (
    ISSUERS,
    RevocationList,
    check_chain,
    check_right,
    load_revocations,
    store_revocation,
)
from client_agent.registry.statements import (
    known_envelopes,
    published_modules,
    store_publication,
)
from client_agent.relay.connection import open_relay
from client_agent.relay.pace import shown
from client_agent.site import Site
from client_agent.steps.waiting import WaitFor
from ff_protocol import canonical, dsse, statements
from ff_protocol.clock import utc_now
from ff_protocol.durations import format_duration
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.manifest import describe_module
from ff_protocol.statements import Publication

POLL_SECONDS = 2.0


class Source(Protocol):
    """Where statements and modules come from: the coordinator, or a bundle on a disk.

    Nothing that comes from either is trusted before it has been checked here.
    """

    bytes_sent: int
    bytes_received: int

    def list_statements(self, known: set[str]) -> Iterator[bytes]:
        """Yield the envelopes whose SHA-256 is not in `known`, revocations first."""

    def fetch_files(
        self, publication: Publication, folder: Path, on_progress: Callable[[int, int], None]
    ) -> None:
        """Bring a module's files into `folder`, each checked against `publication`."""


@dataclass
class Received:
    """What `receive` did.

    Attributes:
        admitted: digests of modules admitted now.
        refused: digest (or a part of a statement's hash) to the reason.
        revocations: number of revocations that came in.
        pending: unlearning that has to be finished by synthesise and fit, if any.
        bytes_on_wire: payload in both directions.
    """

    admitted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    revocations: int = 0
    pending: Pending | None = None
    bytes_on_wire: int = 0

    def add(self, other: "Received") -> None:
        """Take in what a later pass did."""
        self.admitted += other.admitted
        self.refused |= other.refused
        self.revocations += other.revocations
        self.pending = other.pending
        self.bytes_on_wire += other.bytes_on_wire


def receive(site: Site, wait: WaitFor | None = None, progress: Progress = SILENT) -> Received:
    """Receive once, or until enough is there.

    Revoked modules and all that came from them are deleted before this returns. The home is locked
    while something is received, not while this waits.

    Raises:
        UsageError: another command is at work in this home (while waiting, it is waited for).
        NetworkError: the coordinator cannot be reached (while waiting, tries go on).
        WaitTimeoutError: what is waited for did not come; what came is kept.
    """
    result = Received()
    if wait is None:
        with site.exclusive():
            _receive_once(site, result, progress)
        return result
    with progress.task(f"waiting for {wait.what}", wait.needed(site)) as task:
        while True:
            try:
                with site.exclusive(wait=True):
                    _receive_once(site, result, progress)
            except NetworkError as error:
                if not error.transient or wait.overdue:
                    raise
                progress.note(f"{error.message}; trying again")
            here, needed = wait.here(site), wait.needed(site)
            task.update(len(here), f"{len(here)} of {needed}: {', '.join(sorted(here))}")
            if len(here) >= needed:
                return result
            if wait.overdue:
                raise WaitTimeoutError(
                    f"{len(here)} of {needed} {wait.what} are here after "
                    f"{format_duration(wait.timeout_seconds or 0)}",
                    hint="what came is kept; run the same command again to go on waiting",
                )
            time.sleep(POLL_SECONDS)


def _receive_once(site: Site, result: Received, progress: Progress) -> None:
    with open_relay(site) as relay:
        take_from(site, relay, result, progress)


def take_from(
    site: Site,
    source: Source,
    result: Received,
    progress: Progress,
    *,
    offers: Callable[[str], bool] = lambda module: True,
) -> None:
    """Take every new statement of `source`, forget what is revoked, admit or refuse the modules.

    The caller holds the home's lock.

    Args:
        site: who takes.
        source: where from; hostile until checked.
        result: gets what was done, also when this is interrupted.
        progress: watches.
        offers: whether the source has the module with this digest.
    """
    before = source.bytes_sent + source.bytes_received
    try:
        _take_statements(site, source, result)
        revoked = load_revocations(site.home, site.trust)
        result.pending = forget_revoked(site, revoked) or result.pending
        for publication in _wanted(site, revoked):
            if offers(publication.module):
                _take_module(site, source, publication, revoked, result, progress)
    finally:
        result.bytes_on_wire += source.bytes_sent + source.bytes_received - before


def _take_statements(site: Site, source: Source, result: Received) -> None:
    """Verify and keep what is new: publications and revocations."""
    refused = refusals(site.home)
    publications = list(published_modules(site))
    for envelope in source.list_statements(known_envelopes(site.home) | set(refused)):
        label = canonical.sha256_hex(envelope)
        try:
            payload = dsse.verify(envelope, site.trust, ISSUERS, at=utc_now())
            if statements.predicate_type(payload) == statements.REVOCATION:
                _take_revocation(site, payload, envelope, publications)
                result.revocations += 1
            else:
                publication = statements.read_publication(
                    payload, max_module_bytes=site.spec.policy.max_module_bytes
                )
                store_publication(site.home, publication, envelope)
                publications.append(publication)
        except RefusedError as error:
            # Not remembered: a missing predecessor may still come.
            _refuse(site, result, label, error.message)
        except FederatedFactoryError as error:
            _refuse(site, result, label, error.message)
            remember_refusal(site.home, label, error.message)


def _take_revocation(
    site: Site, payload: dsse.VerifiedPayload, envelope: bytes, publications: list[Publication]
) -> None:
    revocation = statements.read_revocation(payload)
    check_right(revocation, publications)
    check_chain(revocation, load_revocations(site.home, site.trust))
    store_revocation(site.home.revocations, revocation, envelope)
    site.log.append(
        "revocation_received",
        issuer=revocation.issuer,
        sequence=revocation.sequence,
        statement=revocation.digest,
    )


def _wanted(site: Site, revoked: RevocationList) -> list[Publication]:
    """Publications whose modules are neither here, nor refused, nor revoked, nor our own unsent."""
    refused = refusals(site.home)
    own = {describe_module(folder)[0] for folder in own_modules(site.home).values()}
    return [
        publication
        for publication in published_modules(site)
        if publication.module not in refused
        and publication.module not in own
        and not site.home.admitted(publication.module).exists()
        and revoked.covering(publication.module, publication.site_id) is None
    ]


def _take_module(
    site: Site,
    source: Source,
    publication: Publication,
    revoked: RevocationList,
    result: Received,
    progress: Progress,
) -> None:
    folder = site.home.incoming(publication.module)
    try:
        check_publication(publication, site, revoked)
        total = sum(entry.size for entry in publication.files.values())
        label = f"{publication.class_name} from {publication.site_id}"
        with progress.task(f"receiving {label}", total) as task:
            source.fetch_files(publication, folder, shown(task))
        check_module(folder, publication, site)
    except RefusedError as error:
        remove_folder(folder)
        remember_refusal(site.home, publication.module, error.message)
        _refuse(site, result, publication.module, error.message)
        return
    except NetworkError as error:
        if error.transient:
            raise
        # The coordinator's copy is damaged: the others may be whole, and it may be mended.
        _refuse(site, result, publication.module, error.message)
        return
    place(folder, site.home.admitted(publication.module), copy=False)
    result.admitted.append(publication.module)
    site.log.append("module_admitted", module=publication.module, site=publication.site_id)


def _refuse(site: Site, result: Received, subject: str, reason: str) -> None:
    result.refused[subject] = reason
    site.log.append("refused", subject=subject, reason=reason[:300])
