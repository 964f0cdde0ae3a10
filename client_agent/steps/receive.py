"""Fetch what is new: revocations first, then modules, each admitted or refused with its reason."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from client_agent.errors import NetworkError, RefusedError, WaitTimeoutError
from client_agent.module.admission import check_publication
from client_agent.policy.file import selection_in_force
from client_agent.progress import SILENT, Progress
from client_agent.registry.forgetting import Pending
from client_agent.registry.modules import own_modules, place, waiting_modules
from client_agent.registry.refusals import refusals
from client_agent.registry.revocations import RevocationList, load_revocations
from client_agent.registry.statements import published_modules
from client_agent.relay.connection import open_relay
from client_agent.relay.pace import shown
from client_agent.sandbox.layers import note_missing
from client_agent.site import Site
from client_agent.steps.admission import settle
from client_agent.steps.apply import apply_revocations
from client_agent.steps.capabilities import share_capabilities
from client_agent.steps.heads import share_heads
from client_agent.steps.intake import fetch_module, refuse, refuse_module, take_statements
from client_agent.steps.renew import renew_if_due
from client_agent.steps.select import chosen_modules, look_at_cards, set_aside
from client_agent.steps.source import Source
from client_agent.steps.waiting import WaitFor
from ff_protocol.durations import format_duration
from ff_protocol.manifest import describe_module
from ff_protocol.statements import Publication

if TYPE_CHECKING:
    from client_agent.relay.client import RelayClient

POLL_SECONDS = 2.0


@dataclass
class Received:
    """What `receive` did.

    Attributes:
        admitted: digests of modules admitted now.
        set_aside: digests of modules that left because others are chosen now.
        waiting: digests of modules that came now and wait for the admin's decision.
        refused: digest (or a part of a statement's hash) to the reason.
        revocations: number of revocations that came in.
        pending: unlearning that has to be finished by synthesise and fit, if any.
        bytes_on_wire: payload in both directions.
        warnings: what does not fit: statements withheld, rolled back or out of order.
        notes: what the authority says: sites expelled, a new root; and certificates renewed.
    """

    admitted: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    revocations: int = 0
    pending: Pending | None = None
    bytes_on_wire: int = 0
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Received") -> None:
        """Take in what a later pass did."""
        self.admitted += other.admitted
        self.waiting += other.waiting
        self.set_aside += other.set_aside
        self.refused |= other.refused
        self.revocations += other.revocations
        self.pending = other.pending
        self.bytes_on_wire += other.bytes_on_wire
        self.warnings += [text for text in other.warnings if text not in self.warnings]
        self.notes += [text for text in other.notes if text not in self.notes]


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
            _receive_once(site, result, progress, first=True)
        return result
    first = True
    with progress.task(f"waiting for {wait.what}", wait.needed(site)) as task:
        while True:
            try:
                with site.exclusive(wait=True):
                    _receive_once(site, result, progress, first=first)
                first = False
            except NetworkError as error:
                if not error.transient or wait.overdue:
                    raise
                progress.note(f"{error.message}; trying again")
            here, needed = wait.here(site), wait.needed(site)
            undecided = len(waiting_modules(site.home))
            remark = f"; {undecided} modules wait for a decision" if undecided else ""
            task.update(len(here), f"{len(here)} of {needed}: {', '.join(sorted(here))}{remark}")
            if len(here) >= needed:
                return result
            if wait.overdue:
                raise WaitTimeoutError(
                    f"{len(here)} of {needed} {wait.what} are here after "
                    f"{format_duration(wait.timeout_seconds or 0)}{remark}",
                    hint="decide with ff-agent admit, then run the same command again"
                    if undecided
                    else "what came is kept; run the same command again to go on waiting",
                )
            time.sleep(POLL_SECONDS)


def _receive_once(site: Site, result: Received, progress: Progress, *, first: bool) -> None:
    with open_relay(site) as relay:
        take_from_relay(site, relay, result, progress, first=first)


def take_from_relay(
    site: Site, relay: "RelayClient", result: Received, progress: Progress, *, first: bool
) -> None:
    """Take what the coordinator has, and hand in this site's own heads where that is due.

    The caller holds the home's lock.

    Args:
        site: who takes.
        relay: the connection.
        result: gets what was done, also when this is interrupted.
        progress: watches.
        first: the first pass of a command: heads are compared with all that were seen before.
    """
    before = len(result.admitted)
    if first:
        names = renew_if_due(site, relay, progress)
        result.notes += [f"{name} certificate renewed" for name in names]
    take_from(site, relay, result, progress, whole=first)
    if first or len(result.admitted) > before:
        carried = relay.bytes_sent + relay.bytes_received
        try:
            share_heads(site, relay, progress)
            share_capabilities(site, relay, progress)
        finally:
            result.bytes_on_wire += relay.bytes_sent + relay.bytes_received - carried


def take_from(
    site: Site,
    source: Source,
    result: Received,
    progress: Progress,
    *,
    whole: bool = False,
    offers: Callable[[str], bool] = lambda module: True,
) -> None:
    """Take every new statement of `source`, forget what is revoked, admit or refuse the modules.

    The caller holds the home's lock.

    Args:
        site: who takes.
        source: where from; hostile until checked.
        result: gets what was done, also when this is interrupted.
        progress: watches.
        whole: have all heads listed again, to see whether any is kept back that was here before.
        offers: whether the source has the module with this digest.
    """
    carried = source.bytes_sent + source.bytes_received
    try:
        _take_statements(site, source, result, progress, whole=whole, offers=offers)
        before = len(result.admitted) + len(result.waiting)
        revoked = load_revocations(site.home, site.trust)
        if selection_in_force(site.home, site.spec) is not None:
            look_at_cards(site, source, revoked, result.refused, offers=offers, progress=progress)
        chosen = chosen_modules(site, revoked)
        while wanted := [item for item in _wanted(site, revoked, chosen) if offers(item.module)]:
            for publication in wanted:
                _take_module(site, source, publication, revoked, result, progress)
            if chosen is None:
                break
            # With a rule, the next best takes the place of what was refused.
            chosen = chosen_modules(site, revoked)
        if chosen is not None:
            result.set_aside += _set_aside(site, chosen, progress)
        note_missing(progress)
        if len(result.admitted) + len(result.waiting) > before:
            # What was revoked while it was being downloaded must not stay.
            _take_statements(site, source, result, progress, whole=False, offers=offers)
    finally:
        result.bytes_on_wire += source.bytes_sent + source.bytes_received - carried


def _take_statements(
    site: Site,
    source: Source,
    result: Received,
    progress: Progress,
    *,
    whole: bool,
    offers: Callable[[str], bool],
) -> None:
    """Take what is new, and apply every revocation that is on file by then."""
    try:
        intake = take_statements(site, source, whole=whole, offers=offers)
    finally:
        result.pending = apply_revocations(site, progress) or result.pending
    result.revocations += intake.revocations
    result.refused.update(intake.refused)
    for text in intake.notes:
        result.notes.append(text)
        progress.note(text)
    for suspicion in intake.suspicions:
        if suspicion.text not in result.warnings:
            result.warnings.append(suspicion.text)
            site.log.append("suspicion", kind=suspicion.kind, about=suspicion.about)
            progress.note(f"warning: {suspicion.text}")


def _wanted(
    site: Site, revoked: RevocationList, chosen: frozenset[str] | None
) -> list[Publication]:
    """Publications whose modules are neither here, nor refused, nor revoked, nor our own unsent.

    A successor waits until what it supersedes is revoked: nobody uses both. Where a rule chooses,
    only what it chooses.
    """
    refused = refusals(site.home)
    own = {describe_module(folder)[0] for folder in own_modules(site.home).values()}
    return [
        publication
        for publication in published_modules(site)
        if publication.module not in refused
        and (chosen is None or publication.module in chosen)
        and publication.module not in own
        and not site.home.admitted(publication.module).exists()
        and not site.home.waiting(publication.module).exists()
        and revoked.covering(publication.module, publication.site_id) is None
        and all(revoked.covering(old, publication.site_id) for old in publication.supersedes)
    ]


def _set_aside(site: Site, chosen: frozenset[str], progress: Progress) -> list[str]:
    """Let what is no longer chosen go, and have own modules take part that are."""
    for folder in own_modules(site.home).values():
        digest = describe_module(folder)[0]
        if digest in chosen and not site.home.admitted(digest).exists():
            place(folder, site.home.admitted(digest), copy=True)
            site.log.append("module_admitted", module=digest, site=site.site_id)
    return list(set_aside(site, chosen, progress))


def _take_module(
    site: Site,
    source: Source,
    publication: Publication,
    revoked: RevocationList,
    result: Received,
    progress: Progress,
) -> None:
    digest = publication.module
    try:
        check_publication(publication, site, revoked)
        total = sum(entry.size for entry in publication.files.values())
        label = f"{publication.class_name} from {publication.site_id}"
        with progress.task(f"receiving {label}", total) as task:
            fetch_module(site, source, publication, shown(task))
        settled = settle(site, publication, site.home.incoming(digest), progress=progress)
    except RefusedError as error:
        refuse_module(site, result.refused, digest, error)
        return
    except NetworkError as error:
        if error.transient:
            raise
        # The coordinator's copy is damaged: the others may be whole, and it may be mended.
        refuse(site, result.refused, digest, error.message)
        return
    (result.admitted if settled == "admitted" else result.waiting).append(digest)
