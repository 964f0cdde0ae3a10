"""Train one generator per class that this site holds, and put each as a module into the outbox."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from client_agent.engines.bars import JobBars
from client_agent.engines.engine import LOCAL, EngineOptions, Job, Work, Yielded
from client_agent.engines.opening import training_engine
from client_agent.errors import DataError, ResourceError, TrainingError, UsageError, reworded
from client_agent.module.packing import PackedModule, restore_replaced
from client_agent.policy.file import read_policy
from client_agent.policy.release import objections
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from client_agent.steps.reading import read_training_images
from client_agent.steps.train_class import ChosenClass, pack_class, select_class
from client_agent.steps.train_job import Training, class_work, train_class
from client_agent.steps.train_options import TrainOptions
from ff_protocol.errors import FederatedFactoryError

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages

_OF_ONE_CLASS = (DataError, TrainingError, ResourceError)
"""Faults that a class may have while others can be trained."""


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


def train(
    site: Site,
    options: TrainOptions,
    progress: Progress = SILENT,
    engine: EngineOptions = LOCAL,
) -> Trained:
    """Train and pack; interrupted, a rerun continues from the last checkpoint.

    A class that fails does not keep the others from being trained; the fault comes at the end.

    Args:
        site: whose classes.
        options: which and how.
        progress: watches.
        engine: where they are trained.

    Raises:
        DataError: no usable images, an unknown or empty class, too many unreadable files.
        TrainingError: the loss is not finite.
        UsageError: both budgets missing or contradictory, no audit where the policy demands it, or
            an engine that is not there.
        NetworkError: a cluster was lost.
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
    for name, reason in kept.items():
        progress.note(f"{name}: {reason}")
    wanted = [name for name in present if name not in kept]
    modules = _train_classes(site, data, wanted, options, progress, engine) if wanted else ()
    skipped = tuple((item.identifier, item.reason) for item in data.skipped)
    policy = read_policy(site.home).release
    against = {
        module.class_name: tuple(item.text for item in objections(read_card(module.folder), policy))
        for module in modules
    }
    return Trained(modules, kept, skipped, against)


def _train_classes(
    site: Site,
    data: "LabelledImages",
    names: Sequence[str],
    options: TrainOptions,
    progress: Progress,
    where: EngineOptions,
) -> tuple[PackedModule, ...]:
    """Train classes and pack each as soon as it is trained; return the modules in their order."""
    engine = training_engine(where, options.threads, options.device)
    threads = options.threads or engine.threads
    chosen: dict[str, ChosenClass] = {}
    trained: dict[str, Training] = {}
    modules: dict[str, PackedModule] = {}
    failures: dict[str, FederatedFactoryError] = {}

    def job(name: str) -> Job:
        def describe() -> Work:
            if name not in chosen:
                chosen[name] = select_class(site, data, name, options, progress)
            work = class_work(site, chosen[name], options, threads)
            if work.kept is not None and work.kept.is_file():
                progress.note(f"{name}: going on from its checkpoint")
            return work

        return Job(name, train_class, describe)

    bars = JobBars(progress, "training")
    with closing(engine.run([job(name) for name in names], bars)) as events:
        for event in events:
            name = event.job.name
            if isinstance(event, Yielded):
                trained[name] = event.value
                continue
            what, error = chosen.pop(name, None), event.error
            if error is None and what is not None:
                try:
                    modules[name] = pack_class(site, what, trained.pop(name), options, progress)
                except TrainingError as fault:
                    error = fault
            if error is not None:
                if not isinstance(error, _OF_ONE_CLASS):
                    raise error
                failures[name] = of_class(name, error)
                if len(names) > 1:
                    progress.note(f"{name}: FAILED: {error.message}")
    if failures:
        raise _together([failures[name] for name in names if name in failures])
    return tuple(modules[name] for name in names)


def of_class(name: str, error: FederatedFactoryError) -> FederatedFactoryError:
    """Have a fault's message name the class, if it does not do so already."""
    told = error.message.startswith(f"class {name}:")
    return error if told else reworded(error, f"class {name}: {error.message}")


def _together(failures: Sequence[FederatedFactoryError]) -> FederatedFactoryError:
    """Make one fault of several: the first one's kind and hint, everyone's message."""
    return reworded(failures[0], "; ".join(error.message for error in failures))


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
