"""The federation spec as this site sees it: in force, waiting, and what adopting would mean."""

from dataclasses import dataclass

from client_agent.errors import NotReadyError, UsageError
from client_agent.registry.fitting import misfit
from client_agent.registry.modules import admitted_modules, own_modules, read_card
from client_agent.registry.specs import (
    adopt,
    adopted_revisions,
    known_revisions,
    pending_changes,
    waiting_revisions,
)
from client_agent.site import Site
from ff_protocol.revisions import SpecRevision


@dataclass(frozen=True)
class WaitingSpec:
    """A revision that waits for the admin.

    Attributes:
        revision: its number.
        issued_at: when the authority signed it.
        changes: against the revision before it, in words.
        additive: whether every module of before stays usable under it.
    """

    revision: int
    issued_at: str
    changes: tuple[str, ...]
    additive: bool


@dataclass(frozen=True)
class SpecState:
    """What `spec` shows.

    Attributes:
        revision: in force here.
        digest: SHA-256 of the statement that it is.
        classes, image_size, channels, preset: some of what it says.
        waiting: later revisions, in order.
        unusable: digest of each module here that the newest of them (or, where none waits, the one
            in force) has no use for, to the reason.
        retrain: own classes to be trained again for it.
        adopted: revisions adopted by this call.
    """

    revision: int
    digest: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    preset: str
    waiting: tuple[WaitingSpec, ...]
    unusable: dict[str, str]
    retrain: tuple[str, ...]
    adopted: tuple[int, ...] = ()


def spec_state(site: Site, adopted: tuple[int, ...] = ()) -> SpecState:
    """Return the spec in force, the revisions that wait, and what the newest would mean."""
    ahead = tuple(known_revisions(site).values())
    spec = site.spec
    return SpecState(
        revision=site.revision.number,
        digest=site.revision.digest,
        classes=spec.classes,
        image_size=spec.image.size,
        channels=spec.image.channels,
        preset=spec.preset,
        waiting=tuple(
            WaitingSpec(
                revision=revision.number,
                issued_at=revision.issued_at,
                changes=tuple(change.text for change in found),
                additive=all(change.additive for change in found),
            )
            for revision, found in pending_changes(site)
        ),
        unusable=unusable(site, ahead),
        retrain=tuple(
            name
            for name, folder in own_modules(site.home).items()
            if (found := misfit(read_card(folder), ahead)) and found.code == "image_shape"
        ),
        adopted=adopted,
    )


def unusable(site: Site, revisions: tuple[SpecRevision, ...] = ()) -> dict[str, str]:
    """Return the digests of admitted modules that do not fit the spec, with the reasons.

    Args:
        site: whose modules.
        revisions: of the spec, the one to fit last; by default those up to the one in force.
    """
    revisions = revisions or adopted_revisions(site)
    found = {
        module.digest: misfit(module.card, revisions) for module in admitted_modules(site.home)
    }
    return {digest: item.text for digest, item in found.items() if item is not None}


def accept_spec(site: Site, upto: int) -> SpecState:
    """Adopt the revisions that wait, up to one of them. The caller holds the home's lock.

    Raises:
        UsageError: no such revision has come.
        NotReadyError: it is in force already, or a later one is.
    """
    if upto <= site.revision.number:
        raise NotReadyError(
            f"revision {site.revision.number} is in force here",
            hint="a revision is never taken back; the federation may publish another one",
        )
    waiting = {revision.number: revision for revision in waiting_revisions(site)}
    if upto not in waiting:
        raise UsageError(
            f"revision {upto} of the federation spec has not come",
            hint="run: ff-agent receive; ff-agent spec shows what waits",
        )
    numbers = tuple(number for number in waiting if number <= upto)
    for number in numbers:
        adopt(site, waiting[number], by="admin")
    return spec_state(site, numbers)
