"""A patient withdraws: train the modules again without some images, replace them in one step.

One signed statement revokes the predecessors and names the successors; every site applies both at
once. Order makes it crash-safe: the images are marked and the plan is noted before anything is
trained; the statement's file is the point of no return; a rerun goes on from wherever it stopped.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from client_agent.audit.hold_out import MIN_IMAGES_PER_CLASS
from client_agent.errors import NotReadyError, ReleaseRefusedError, UsageError
from client_agent.policy.file import read_policy
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules, remove_folder
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.registry.training_images import (
    ImageName,
    TrainingImages,
    Withdrawal,
    read_withdrawal,
    store_withdrawal,
    training_images,
    withdraw_images,
    withdrawn_among,
    withdrawn_images,
)
from client_agent.site import Site
from client_agent.sources.location import Location, is_there, parse_location
from client_agent.sources.naming import find_images
from client_agent.steps.apply import apply_revocations
from client_agent.steps.revoke import (
    Unlearned,
    deliver_revocations,
    finish_unlearning,
    sign_revocation,
)
from client_agent.steps.send import sign_publication
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from ff_protocol.manifest import describe_module
from ff_protocol.statements import MAX_REASON_CHARACTERS

_Found = dict[str, frozenset[ImageName]]


@dataclass(frozen=True)
class Affected:
    """A module that withdrawn images are in: how many of how many."""

    module: str
    class_name: str
    withdrawn: int
    images: int


@dataclass(frozen=True)
class Withdrawn:
    """What `withdraw` found and did.

    Attributes:
        images: number of images that were withdrawn.
        affected: the modules that they were in.
        unknown: names that no module here was trained on.
        successors: class to digest of the module trained without them; classes left with too few
            images have none.
        statement: digest of the one signed statement; None if nothing had been published, or if
            this was a look only.
        relayed: the coordinator has it.
        unlearned: what was rebuilt here.
    """

    images: int
    affected: tuple[Affected, ...]
    unknown: tuple[str, ...]
    successors: dict[str, str]
    statement: str | None
    relayed: bool
    unlearned: Unlearned | None


def withdraw(
    site: Site,
    names: list[str],
    *,
    data: Location | None = None,
    reason: str = "",
    look_only: bool = False,
    skip_unknown: bool = False,
    progress: Progress = SILENT,
) -> Withdrawn:
    """Withdraw images; interrupted, the same call goes on.

    Args:
        site: whose images they are.
        names: SOP Instance UIDs, paths, or SHA-256s of the files or of the prepared pixels.
        data: where the images lie now, if not where they were trained from.
        reason: goes into the signed statement; no patient data.
        look_only: say which modules the images are in, and change nothing.
        skip_unknown: go on although some names are unknown here.
        progress: watches.

    Raises:
        UsageError: no name is known here, or some are not.
        NotReadyError: the images that are left are needed for training and cannot be found.
        DataError: they cannot be read.
    """
    if len(reason) > MAX_REASON_CHARACTERS:
        raise UsageError(f"the reason may have {MAX_REASON_CHARACTERS} characters")
    successors: dict[str, str] = {}
    statement = None
    interrupted = read_withdrawal(site.home)
    if interrupted is not None and not look_only:
        progress.note("finishing the withdrawal that was interrupted")
        successors, statement = _replace(site, interrupted, data, progress)
    found, unknown = _find(site, names, data)
    images = frozenset(image for group in found.values() for image in group)
    affected = _affected(site, images)
    if look_only:
        return Withdrawn(len(images), affected, unknown, {}, None, False, None)
    _require_known(found, unknown, skip_unknown=skip_unknown)
    if affected:
        plan = _plan(site, found, affected, reason)
        successors, statement = _replace(site, plan, data, progress)
    apply_revocations(site, progress)
    relayed = deliver_revocations(site, progress)
    return Withdrawn(
        images=len(images),
        affected=affected,
        unknown=unknown,
        successors=successors,
        statement=statement,
        relayed=relayed,
        unlearned=finish_unlearning(site, progress),
    )


def _plan(site: Site, found: _Found, affected: tuple[Affected, ...], reason: str) -> Withdrawal:
    """Mark the images, then note what has to be done: from now on no training uses them."""
    images = {image for group in found.values() for image in group}
    # Under the names given, too: a rerun must know them when the modules' lists are gone.
    images |= {ImageName(name, image.pixels) for name, group in found.items() for image in group}
    withdraw_images(site.home, images)
    modules: dict[str, tuple[str, ...]] = {}
    for item in affected:
        modules[item.class_name] = (*modules.get(item.class_name, ()), item.module)
    plan = Withdrawal(modules, reason)
    store_withdrawal(site.home, plan)
    count = len({image.pixels for image in images})
    site.log.append("images_withdrawn", images=count, modules=[item.module for item in affected])
    return plan


def _replace(
    site: Site, plan: Withdrawal, data: Location | None, progress: Progress
) -> tuple[dict[str, str], str | None]:
    """Train what has to be trained, sign the one statement; return successors and statement."""
    records = {record.module: record for record in training_images(site.home)}
    successors: dict[str, str] = {}
    for class_name, digests in plan.modules.items():
        successor = _successor(site, class_name, digests, records, data, progress)
        if successor is not None:
            successors[class_name] = successor
    statement = _sign(site, plan, successors, progress)
    site.home.pending_withdrawal.unlink(missing_ok=True)
    return successors, statement


def _find(site: Site, names: list[str], data: Location | None) -> tuple[_Found, tuple[str, ...]]:
    """Turn names into images that modules here were trained on, and names that are unknown."""
    found: _Found = {}
    unique = list(dict.fromkeys(names))
    for record in training_images(site.home):
        root = data or parse_location(str(record.options["data"]))
        folder = root if isinstance(root, Path) else None
        for name, images in find_images(unique, record.used, folder).items():
            found[name] = found.get(name, frozenset()) | frozenset(images)
    left = [name for name in unique if name not in found]
    before = find_images(left, tuple(withdrawn_images(site.home)), None)
    found |= {name: frozenset(images) for name, images in before.items()}
    return found, tuple(name for name in left if name not in found)


def _affected(site: Site, images: frozenset[ImageName]) -> tuple[Affected, ...]:
    """The own modules in use or in the outbox that used these images or their equals."""
    identifiers = {item.identifier for item in images}
    pixels = {item.pixels for item in images}
    live = _live(site)
    affected = []
    for record in training_images(site.home):
        count = sum(item.identifier in identifiers or item.pixels in pixels for item in record.used)
        if count and record.module in live:
            affected.append(Affected(record.module, record.class_name, count, len(record.used)))
    return tuple(affected)


def _live(site: Site) -> set[str]:
    """Own modules that are in the outbox, or published and not revoked."""
    revoked = load_revocations(site.home, site.trust)
    live = {describe_module(folder)[0] for folder in own_modules(site.home).values()}
    live |= {item.module for item in published_modules(site, of_site=site.site_id)}
    return {digest for digest in live if revoked.covering(digest, site.site_id) is None}


def _require_known(found: _Found, unknown: tuple[str, ...], *, skip_unknown: bool) -> None:
    if not found or (unknown and not skip_unknown):
        listed = ", ".join(name[:80] for name in unknown[:5])
        raise UsageError(
            f"{len(unknown)} of these images went into no module of this site: {listed}",
            hint="check the list, or say where the images lie with --data; --skip-unknown goes on",
        )


def _successor(
    site: Site,
    class_name: str,
    predecessors: tuple[str, ...],
    records: dict[str, TrainingImages],
    data: Location | None,
    progress: Progress,
) -> str | None:
    """Train the class without what was withdrawn, unless an interrupted call has; its digest."""
    folder = own_modules(site.home).get(class_name)
    if folder is not None and (digest := describe_module(folder)[0]) not in predecessors:
        return digest
    known = [records[digest] for digest in predecessors]
    record = known[-1]
    withdrawn = withdrawn_among(record.used, site.home)
    left = {item.pixels for item, gone in zip(record.used, withdrawn, strict=True) if not gone}
    if len(left) < MIN_IMAGES_PER_CLASS:
        progress.note(f"{class_name}: {len(left)} images are left, too few for a module")
        remove_folder(site.home.outbox / class_name)
        return None
    options = _options(site, record, data)
    if not is_there(options.data):
        raise NotReadyError(
            f"{class_name} has to be trained again, and {options.data} is not there",
            hint="say where the images lie: --data PATH",
        )
    (module,) = train(site, options, progress).modules
    return module.digest


def _options(site: Site, record: TrainingImages, data: Location | None) -> TrainOptions:
    options = TrainOptions.from_json(record.options, data)
    return replace(
        options,
        classes=(record.class_name,),
        retrain=True,
        # A policy that was tightened since must not stand in the way of a withdrawal.
        audit=options.audit or read_policy(site.home).release.require_audit,
    )


def _sign(
    site: Site, plan: Withdrawal, successors: dict[str, str], progress: Progress
) -> str | None:
    """Sign the successors' publications and the one statement that puts all of them in force.

    A successor that this site's policy does not let leave is taken out of `successors` and stays in
    the outbox: a withdrawal waits for nothing.
    """
    published = {item.module for item in published_modules(site, of_site=site.site_id)}
    revoked = load_revocations(site.home, site.trust)
    standing: list[str] = []
    replaced: list[str] = []
    for class_name, digests in plan.modules.items():
        old = tuple(
            digest
            for digest in digests
            if digest in published and revoked.covering(digest, site.site_id) is None
        )
        standing += old
        if old and class_name in successors:
            digest, entries = describe_module(site.home.outbox / class_name)
            try:
                sign_publication(site, class_name, digest, entries, supersedes=old)
            except ReleaseRefusedError as error:
                progress.note(f"the module goes without a successor for now. {error.message}")
                del successors[class_name]
                continue
            replaced.append(digest)
    if not standing:  # never published, or signed before the interruption
        return None
    return sign_revocation(
        site, tuple(sorted(standing)), reason=plan.reason, successors=tuple(sorted(replaced))
    )
