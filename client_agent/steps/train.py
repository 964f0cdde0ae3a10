"""Train one generator per class that this site holds, and put each as a module into the outbox."""

from dataclasses import dataclass

import numpy as np

from client_agent.errors import UsageError
from client_agent.module.packing import PackedModule, restore_replaced
from client_agent.policy.file import read_policy
from client_agent.policy.release import objections
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from client_agent.steps.reading import read_training_images
from client_agent.steps.train_class import select_class, train_class
from client_agent.steps.train_options import TrainOptions


@dataclass(frozen=True)
class Trained:
    """What `train` did.

    Attributes:
        modules: modules made now.
        kept: classes left as they were, with the reason.
        skipped: unreadable images, identifier and reason.
        objections: class to what stands against sending its new module, one line each.
    """

    modules: tuple[PackedModule, ...]
    kept: dict[str, str]
    skipped: tuple[tuple[str, str], ...]
    objections: dict[str, tuple[str, ...]]


def train(site: Site, options: TrainOptions, progress: Progress = SILENT) -> Trained:
    """Train and pack; interrupted, a rerun continues from the last checkpoint.

    Raises:
        DataError: no usable images, an unknown or empty class, too many unreadable files.
        TrainingError: the loss is not finite.
        UsageError: both budgets missing or contradictory, or no audit where the policy demands it.
    """
    if not options.audit and read_policy(site.home).release.require_audit:
        raise UsageError(
            "this site's policy demands an audit of every module",
            hint="leave --no-audit out, or set require_audit: false under release in policy.yaml",
        )
    restore_replaced(site.home)
    if options.seconds is not None and options.seconds <= 0:
        raise UsageError("the training budget must be positive")
    data = read_training_images(site, options, progress)
    counts = np.bincount(data.labels, minlength=len(data.classes))
    present = [name for name, count in zip(data.classes, counts, strict=True) if count]
    kept = _kept_classes(site, present, retrain=options.retrain)
    modules = []
    for name in present:
        if name in kept:
            progress.note(f"{name}: {kept[name]}")
            continue
        chosen = select_class(site, data, name, options, progress)
        modules.append(train_class(site, chosen, options, progress))
    skipped = tuple((item.identifier, item.reason) for item in data.skipped)
    policy = read_policy(site.home).release
    against = {
        module.class_name: tuple(item.text for item in objections(read_card(module.folder), policy))
        for module in modules
    }
    return Trained(tuple(modules), kept, skipped, against)


def _kept_classes(site: Site, present: list[str], *, retrain: bool) -> dict[str, str]:
    """Classes that `train` leaves alone, with the reason."""
    if retrain:
        return {}
    own = {name: read_card(folder) for name, folder in own_modules(site.home).items()}
    # A module for images of another shape than the federation's now is none any more.
    outdated = {name for name, card in own.items() if card.image != site.spec.image}
    kept = {
        name: "has a module already" for name in own if name in present and name not in outdated
    }
    revoked = load_revocations(site.home, site.trust)
    for publication in published_modules(site, of_site=site.site_id):
        name = publication.class_name
        if name not in present or name in kept or name in outdated:
            continue
        gone = revoked.covering(publication.module, site.site_id)
        reason = "its module was revoked" if gone else "its module is published and no longer here"
        kept[name] = f"{reason}; use --retrain to make and publish a successor"
    return kept
