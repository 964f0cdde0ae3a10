"""What an exact revocation costs against redoing the federation, and whether anything is left.

Eight sites hold one class each. The last one holds a few images of the first site's class besides,
and trains on them until its module replays them: the worst case for a patient. Then that module is
revoked (its class survives), and after it the rest of that site (its class leaves).

The sites are homes on this machine; modules are handed over without a coordinator, so transfer is
in neither of the times compared (benchmarks round_trip counts it). Everything else is what
`ff-agent` does: training, signing, synthesis, fitting, revoking, certifying, verifying.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import seconds_of
from benchmarks.environment import SHARED_DATA
from benchmarks.hospitals import Scale, choose_members, share_modules, train_all
from benchmarks.membership import Attack, attack_classifier, attack_samples, nearest_classes
from client_agent.classifier.prediction import ClassifierFile
from client_agent.classifier.settings import settings_for
from client_agent.classifier.training import fit_classifier
from client_agent.demo.datasets import DemoData, load_demo_data
from client_agent.registry.modules import own_modules
from client_agent.site import Site
from client_agent.steps.fit import fit
from client_agent.steps.revoke import revoke
from client_agent.steps.synthesise import make_dataset
from client_agent.steps.train_options import DEFAULT_SECONDS
from client_agent.steps.verify_unlearning import verify_unlearning
from ff_protocol.manifest import describe_module
from ff_protocol.spec import ClassifierSpec, SynthesisSpec
from tests.homes import make_authority

GOAL = 0.15
DEFAULT_SAMPLES = SynthesisSpec().samples_per_class


@dataclass(frozen=True)
class Row:
    """One federation; times in seconds of processor time, AUROCs of the attacks.

    Processor time on one core, so that other work on the machine does not count.

    `redo` is: train every module again, synthesise everything, fit. `*_share` is that of revoking
    (forget, extend, fit, certify) in it. `projected_*` is the same for the default spec: the
    preset's training time, which is a budget and needs no measuring, 1,000 samples a class and the
    classifier's full number of presentations, at the rates measured here.
    """

    dataset: str
    sites: int
    modules: int
    samples_per_class: int
    epochs: int
    training_seconds: float
    synthesis_seconds: float
    fit_seconds: float
    redo_seconds: float
    class_leaves_seconds: float
    class_leaves_share: float
    class_survives_seconds: float
    class_survives_share: float
    share_goal: float
    projected_redo_seconds: float
    projected_revoke_seconds: float
    projected_share: float
    generators_retrained: int
    surviving_shards: int
    surviving_shards_resampled: int
    samples_made_class_leaves: int
    samples_made_class_survives: int
    bit_identical_to_a_rebuild: bool
    verify_seconds: float
    classifier_share_of_revoking: float
    members: int
    samples_attack_before: float
    samples_attack_after: float
    classifier_attack_before: float
    classifier_attack_after: float
    chance_interval: float
    class_recall_before: float
    class_recall_after: float
    class_nearest_before: float
    class_nearest_after: float


def measure(
    *,
    quick: bool,
    dataset: str | None = None,
    seconds: float = 60.0,
    steps: int | None = None,
    samples: int = 300,
) -> list[Row]:
    """Run it on blood cells (where they are; else digits), or on three digits if quick.

    Args:
        quick: seconds instead of minutes.
        dataset: a MedMNIST-style file instead.
        seconds: training time of each module; the one that memorises gets four times as much.
        steps: training steps of each module instead, which the machine's load does not change.
        samples: synthetic images per class; below 500 the classifier is trained for 8 epochs only.
    """
    if quick:
        scale = Scale("digits", 3, 96, {"steps": 12}, {"steps": 120}, 2)
    else:
        real = SHARED_DATA / "bloodcells28.npz"
        chosen = dataset or (str(real) if real.is_file() else "digits")
        # A small set is a brief run: then the classifier is trained briefly, too.
        epochs = None if samples >= DEFAULT_SAMPLES // 2 else 8
        unit, amount = ("seconds", seconds) if steps is None else ("steps", steps)
        training, replay = {unit: amount}, {unit: 4 * amount}
        scale = Scale(chosen, 8, samples, training, replay, epochs)
    with tempfile.TemporaryDirectory() as folder:
        return [_measure(scale, Path(folder))]


def _measure(scale: Scale, folder: Path) -> Row:
    data = load_demo_data(scale.dataset, SHARED_DATA, seed=0)
    names = data.classes[: scale.classes]
    authority = make_authority(
        classes=list(names),
        image={"size": data.image_size, "channels": data.channels},
        synthesis={"samples_per_class": scale.samples, "batch_size": 16, "threads": 1},
        classifier={"epochs": scale.epochs, "threads": 1},
    )
    hospitals = [f"hospital-{number + 1}" for number in range(len(names))]
    sites = [authority.join(folder / name, name) for name in hospitals]
    members, strangers = choose_members(data)
    training = train_all(sites, data, members, strangers, scale, folder)
    site = sites[0]
    share_modules(sites, site)
    memorised = describe_module(own_modules(sites[-1].home)[names[0]])[0]

    synthesis, (synthesised, dataset) = seconds_of(lambda: make_dataset(site))
    first_made = synthesised.made
    fitting, _ = seconds_of(lambda: fit(site))
    settings = settings_for(site.spec.classifier)
    one_pass, _ = seconds_of(
        lambda: fit_classifier(
            dataset.images,
            dataset.labels,
            classes=dataset.classes,
            settings=replace(settings, epochs=1),
        )
    )
    redo = training + synthesis + fitting
    truth = _Truth(data, members, strangers, len(names))
    before = truth.attack(site)

    trainings = _trainings(sites)
    shards, made = _shards(site), len(_made(site))
    survives, _ = seconds_of(lambda: revoke(site, module=memorised, reason="benchmark"))
    made_survives = sum(_made(site)[made:])
    between = truth.attack(site)
    changed = _changed(shards, _shards(site), memorised)

    kept, made = _shards(site), len(_made(site))
    leaves, revoked = seconds_of(
        lambda: revoke(site, of_site=sites[-1].site_id, reason="benchmark")
    )
    gone = set(revoked.modules)
    changed += _changed(kept, _shards(site), *gone)
    after = truth.attack(site)
    certificate = site.home.unlearning_certificates / revoked.unlearned.certificate
    verifying, verified = seconds_of(lambda: verify_unlearning(site, certificate))
    modules = len(names) + 1
    epochs = settings.epochs_for(len(dataset.images))
    full_set = DEFAULT_SAMPLES * len(names)
    full_epochs = settings_for(ClassifierSpec()).epochs_for(full_set)
    presentations = epochs * scale.samples * len(names)
    full_fit = fitting + one_pass * (full_epochs * full_set - presentations) / len(dataset.images)
    full_synthesis = synthesis * full_set / first_made
    full_redo = modules * DEFAULT_SECONDS[site.spec.preset] + full_synthesis + full_fit
    # The dearer case: half of a class's samples have to be made by its other module.
    full_revoke = full_fit + full_synthesis * (DEFAULT_SAMPLES / 2) / full_set
    return Row(
        dataset=data.name,
        sites=len(sites),
        modules=modules,
        samples_per_class=scale.samples,
        epochs=epochs,
        training_seconds=training,
        synthesis_seconds=synthesis,
        fit_seconds=fitting,
        redo_seconds=redo,
        class_leaves_seconds=leaves,
        class_leaves_share=leaves / redo,
        class_survives_seconds=survives,
        class_survives_share=survives / redo,
        share_goal=GOAL,
        projected_redo_seconds=full_redo,
        projected_revoke_seconds=full_revoke,
        projected_share=full_revoke / full_redo,
        generators_retrained=_trainings(sites) - trainings,
        surviving_shards=len(kept),
        surviving_shards_resampled=changed,
        samples_made_class_leaves=sum(_made(site)[made:]),
        samples_made_class_survives=made_survives,
        bit_identical_to_a_rebuild=verified.outcome == "identical",
        verify_seconds=verifying,
        classifier_share_of_revoking=min(1.0, fitting / leaves),
        members=len(members),
        samples_attack_before=before.samples.auroc,
        samples_attack_after=between.samples.auroc,
        classifier_attack_before=before.classifier.auroc,
        classifier_attack_after=between.classifier.auroc,
        chance_interval=between.samples.chance_interval,
        class_recall_before=before.recall,
        class_recall_after=after.recall,
        class_nearest_before=before.nearest,
        class_nearest_after=after.nearest,
    )


@dataclass(frozen=True)
class _Found:
    """What an attacker finds: about the members, and about the last site's class."""

    samples: Attack
    classifier: Attack
    recall: float
    nearest: float


@dataclass(frozen=True)
class _Truth:
    """Images that no module but the revoked one has seen, with what is true of them."""

    data: DemoData
    members: np.ndarray
    strangers: np.ndarray
    classes: int

    def attack(self, site: Site) -> _Found:
        """Attack the site's data set and classifier as they are now."""
        _, dataset = make_dataset(site)
        classifier = ClassifierFile.open(site.home.classifier)
        first, last = self.data.classes[0], self.data.classes[self.classes - 1]
        of_class = dataset.images[dataset.labels == dataset.classes.index(first)]
        unseen = self.data.test_images[self.data.test_labels == self.classes - 1]
        named = [classifier.classes[i] for i in classifier.predict(unseen).argmax(axis=1)]
        nearest = nearest_classes(unseen, dataset.images, dataset.labels)
        return _Found(
            samples=attack_samples(self.members, self.strangers, of_class),
            classifier=attack_classifier(classifier, first, self.members, self.strangers),
            recall=float(np.mean([name == last for name in named])),
            nearest=float(np.mean([dataset.classes[i] == last for i in nearest])),
        )


def _shards(site: Site) -> dict[Path, tuple[int, bytes]]:
    """Every shard with its time of writing and its bytes: resampling would change the first."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(site.home.shards.rglob("*.npy"))
    }


def _changed(before: dict[Path, Any], after: dict[Path, Any], *gone: str) -> int:
    """Count the shards of modules that stay which are not the very same files any more."""
    return sum(
        after.get(path) != value for path, value in before.items() if path.parent.name not in gone
    )


def _made(site: Site) -> list[int]:
    """Samples made, call by call, as the record has it."""
    return [e["details"]["made"] for e in site.log.entries() if e["event"] == "synthesised"]


def _trainings(sites: list[Site]) -> int:
    """Trainings of generators in all records."""
    return sum(entry["event"] == "trained" for site in sites for entry in site.log.entries())
