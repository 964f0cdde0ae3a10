"""Federated Factory's own part of the federation: modules of every site, samples of every module.

Everything goes through the product: `hold_out`, `train_generator` under its seconds,
`export_module`, the plan of `synthesis.dataset` and its shard store, which samples `module.onnx` in
onnxruntime. What was made stays in the work folder with the time that it took, so that the arms of
Federated Factory share it and an interrupted run goes on where it was. Audit, network and
signatures change no figure here and are left out, so that the budget is training's; the
demonstration (`ff-agent demo`) has them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms.keeping import Work, keep, total
from benchmarks.recovery.budget import Plan, make_plan
from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Task
from benchmarks.sampling import sampling_rate
from client_agent.audit.hold_out import MIN_IMAGES_PER_CLASS, hold_out
from client_agent.errors import DataError
from client_agent.generator.presets import Preset, preset_for
from client_agent.generator.training import (
    Budget,
    TrainedGenerator,
    TrainingProgress,
    train_generator,
)
from client_agent.module.export import export_module
from client_agent.module.packing import generator_card, training_card
from client_agent.policy.release import ReleasePolicy
from client_agent.progress import Task as Shown
from client_agent.registry.modules import AdmittedModule, read_card
from client_agent.registry.training_images import pixels_digest
from client_agent.synthesis.dataset import load_dataset, plan_dataset, synthesise
from client_agent.synthesis.session import ModuleSession
from client_agent.synthesis.shards import SHARD_BATCHES, ShardStore
from ff_protocol import canonical
from ff_protocol.card import Card
from ff_protocol.files import write_atomically
from ff_protocol.manifest import CARD_FILE, MODULE_FILE
from ff_protocol.spec import FederationSpec, parse_spec

FEDERATION = "recover"
SYNTHESIS_BATCH = 50
Report = Callable[[TrainingProgress], None]
SHARD = SYNTHESIS_BATCH * SHARD_BATCHES
_MEASURED_BATCHES = 2


@dataclass(frozen=True)
class Stage:
    """What the sites have made before any classifier is trained.

    Attributes:
        synthetic: images of all classes that have a module; labels index the task's classes.
        bytes: of all modules together: what one site sends and receives.
        work: what it took, sites in turn.
        details: the plan, steps and sizes, as JSON values.
        modules: (site, label) to the folder of its module.
    """

    synthetic: Labelled
    bytes: int
    work: Work
    details: dict[str, Any]
    modules: dict[tuple[int, int], Path]


def make_stage(task: Task) -> Stage:
    """Train, export and sample every module that the work folder lacks.

    Raises:
        DataError: fewer than two classes have enough images for a generator.
    """
    preset = preset_for(task.preset, task.image_size, task.channels)
    holdings, left_out = _able(task)
    classes = len({label for _, label in holdings})
    if classes < 2:
        raise DataError(
            f"{classes} class(es) have the {MIN_IMAGES_PER_CLASS} images at one site that a "
            "generator needs; two are the least"
        )
    measured = keep(task.work / "measured", lambda: _measure(task, preset))
    # Kept, because another run would measure other rates and plan other samples.
    kept = keep(task.work / "plan", lambda: asdict(_plan(task, classes, len(holdings), measured)))
    plan = Plan(**kept.values)
    made, folders = [], {}
    with task.progress.task("generators", len(holdings)) as shown:
        for number, (site, label) in enumerate(holdings):
            report = partial(_report, shown, number, task.classes[label])
            folder = folders[site, label] = task.work / "modules" / f"site-{site}-class-{label}"
            make = partial(
                _make_module,
                task,
                preset,
                site,
                label,
                folder,
                Budget(plan.module_seconds, task.rule.module_steps),
                report,
            )
            made.append(keep(folder, make))
            shown.update(number + 1, task.classes[label])
    modules = [admitted(folder) for folder in folders.values()]
    spec = spec_of(task, plan.samples)
    store = ShardStore(task.work / "shards", spec, FEDERATION)
    portions = plan_dataset(modules, spec)
    sampled = keep(task.work / "shards", lambda: {"made": synthesise(portions, store)})
    dataset = load_dataset(portions, store, spec)
    labels = np.array([spec.classes.index(name) for name in dataset.classes])[dataset.labels]
    return Stage(
        synthetic=Labelled(dataset.images, labels),
        bytes=sum(work.values["bytes"] for work in made),
        work=total([measured, *made, sampled]),
        details={
            "preset": preset.name,
            "modules": len(made),
            "module_bytes": max(work.values["bytes"] for work in made),
            "module_seconds": round(plan.module_seconds, 1),
            "training_seconds": round(sum(work.values["training_seconds"] for work in made), 1),
            "steps": [work.values["steps"] for work in made],
            "loss": [round(work.values["loss"], 4) for work in made],
            "samples_per_class": plan.samples,
            "sampling_rate": round(measured.values["sampling_rate"], 1),
            "synthesis_seconds": round(sampled.seconds, 1),
            "left_out": left_out,
        },
        modules=folders,
    )


def _able(task: Task) -> tuple[list[tuple[int, int]], list[dict[str, Any]]]:
    """Part the holdings into those with images enough for a generator and the rest."""
    able, left_out = [], []
    for site, label in task.holdings():
        count = len(task.images_of(site, label))
        if count >= MIN_IMAGES_PER_CLASS:
            able.append((site, label))
        else:
            left_out.append({"site": site, "class": task.classes[label], "images": count})
    return able, left_out


def _plan(task: Task, classes: int, modules: int, measured: Work) -> Plan:
    return make_plan(
        task.rule,
        task.seconds,
        classes=classes,
        modules=modules,
        sampling_rate=measured.values["sampling_rate"],
        training_rate=task.training_rate,
        settings=task.settings,
        spent=measured.seconds,
        step=SHARD if task.rule.samples_per_class >= SHARD else 1,
    )


def _measure(task: Task, preset: Preset) -> dict[str, Any]:
    """Find images/s of a module on a generator that is not trained; its weights do not matter."""
    folder = task.work / "measured"
    images = np.concatenate([site.images for site in task.sites])[: 4 * MIN_IMAGES_PER_CLASS]
    trained = train_generator(
        images, preset=preset, seed=0, budget=Budget(steps=1), threads=task.settings.threads,
        device=task.device,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    export_module(trained, folder / MODULE_FILE)
    session = ModuleSession(folder / MODULE_FILE, "0" * 64, spec_of(task, 1), FEDERATION)
    return {"sampling_rate": sampling_rate(session, _MEASURED_BATCHES)}


def _make_module(
    task: Task,
    preset: Preset,
    site: int,
    label: int,
    folder: Path,
    budget: Budget,
    report: Report,
) -> dict[str, Any]:
    trained = trained_module(task, preset, site, label, folder, budget, report)
    export_module(trained, folder / MODULE_FILE)
    write_atomically(folder / CARD_FILE, _card(task, site, label, trained).to_bytes())
    return {
        "bytes": sum((folder / name).stat().st_size for name in (MODULE_FILE, CARD_FILE)),
        "steps": trained.steps,
        "loss": trained.loss,
        "training_seconds": trained.seconds,
    }


def _parts(task: Task, site: int, label: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A class of a site, parted as `train` does: what is trained on and what is held out."""
    own = task.images_of(site, label)
    parts = hold_out([""] * len(own), [pixels_digest(image) for image in own], task.seed)
    held_out = own[list(parts.held_out)] if parts.held_out else None
    return own[list(parts.trained_on)], held_out


def trained_module(
    task: Task,
    preset: Preset,
    site: int,
    label: int,
    folder: Path,
    budget: Budget,
    report: Report | None = None,
) -> TrainedGenerator:
    """Train the generator of a class of a site, or return at once what its checkpoint holds."""
    training, held_out = _parts(task, site, label)
    return train_generator(
        training,
        preset=preset,
        seed=task.seed * 1_000_000 + site * 1000 + label,
        budget=budget,
        held_out=held_out,
        most_membership=ReleasePolicy().most_membership(len(training)),
        checkpoint=folder / "checkpoint.pt",
        device=task.device,
        threads=task.settings.threads,
        on_progress=report,
    )


def _report(shown: Shown, number: int, name: str, now: TrainingProgress) -> None:
    shown.update(number + now.fraction, f"{name}: loss {now.loss:.4f}")


def admitted(folder: Path) -> AdmittedModule:
    """Read a module back as admission would leave it; its digest covers model and card."""
    parts = [
        canonical.sha256_hex((folder / name).read_bytes()) for name in (MODULE_FILE, CARD_FILE)
    ]
    return AdmittedModule(canonical.sha256_hex("".join(parts).encode()), read_card(folder), folder)


def spec_of(task: Task, samples: int) -> FederationSpec:
    """The spec of this federation; class names of a file may break the product's naming rules."""
    return parse_spec(
        {
            "classes": [f"class-{label}" for label in range(len(task.classes))],
            "image": {"size": task.image_size, "channels": task.channels},
            "preset": task.preset,
            "synthesis": {
                "samples_per_class": samples,
                "batch_size": SYNTHESIS_BATCH,
                "threads": task.settings.threads,
            },
        }
    )


def _card(task: Task, site: int, label: int, trained: TrainedGenerator) -> Card:
    return Card(
        federation_id=FEDERATION,
        site_id=f"site-{site}",
        class_name=f"class-{label}",
        class_index=label,
        image=spec_of(task, 1).image,
        generator=generator_card(trained),
        training=training_card(trained, len(_parts(task, site, label)[0])),
        # A fixed date: the digest, and with it the noise, must follow from the run alone.
        created_at="2000-01-01T00:00:00Z",
    )
