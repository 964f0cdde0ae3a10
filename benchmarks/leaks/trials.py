"""One trial of each kind: plant, audit, and note what the gate says with its default bounds.

replays: 28 px. The training images replayed in five ways; draws of the class Gaussian, alone and
with 10 % replay; real images that nobody saw.

trained: 14 px (2 x 2 pixels averaged). A network trained briefly, audited on its own training
images, alone and with 10 % replay, and on other images of the class, of which it cannot know any.

overtrained: 14 px. A network trained for 96 passes over 50 images.

The generator's Gaussian keeps a component per 32 images. With one per 8, as it once did, the
Gaussian alone gives training images away, before any training: it is audited, too, with no goal, as
what it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.leaks.cases import Case, make_case
from benchmarks.leaks.disguises import DISGUISES
from client_agent.audit.audit import audit_samples, samples_wanted
from client_agent.audit.gate import verdict
from client_agent.audit.membership import DenoisingLosses, denoising_losses
from client_agent.audit.membership_figures import membership_figures
from client_agent.audit.reference import Reference, make_reference
from client_agent.audit.thresholds import Thresholds, default_thresholds, without_network
from client_agent.generator import gaussian
from ff_protocol.card import Figure

if TYPE_CHECKING:
    from client_agent.generator.training import TrainedGenerator

KINDS = ("replays", "trained", "overtrained")
LEAKS = (
    *DISGUISES, "10 % replay, 90 % Gaussian", "10 % replay, 90 % trained briefly",
    "over-trained on 50 images",
)  # fmt: skip
HONEST = (
    "unseen real images", "class Gaussian", "trained briefly",
    "trained briefly, on other images",
)  # fmt: skip
OBSERVED = (
    "over-trained, by its samples alone", "class Gaussian, 8 images a component",
    "trained briefly, 8 images a component",
)  # fmt: skip
_HONEST_COMPONENTS = 32
_LEAKING_COMPONENTS = 8
_MIX = 10
_BRIEF_STEPS = 60
_BRIEF_IMAGES = 256
_FEWEST_STRANGERS = 64
_LONG_STEPS = 300
_LONG_IMAGES = 50


@dataclass(frozen=True)
class Audited:
    """The outcome of one audit.

    Attributes:
        trial, generator: what was audited; one of `LEAKS`, `HONEST` or `OBSERVED`.
        dataset, class_index, images, held_out, samples: on what.
        figures: all figures, by name.
    """

    trial: int
    generator: str
    dataset: str
    class_index: int
    images: int
    held_out: int
    samples: int
    figures: dict[str, Figure]

    @property
    def failed(self) -> tuple[str, ...]:
        """Figures that the gate refuses for, with its default bounds for so many images."""
        bounds = default_thresholds(self.images)
        if "membership_auc" not in self.figures:
            bounds = without_network(bounds)
        elif "replayed_images" not in self.figures:
            bounds = Thresholds({n: b for n, b in bounds.root.items() if n in self.figures})
        return tuple(failure.figure for failure in verdict(self.figures, bounds))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures as [value, low, high, samples]."""
        figures = {n: [f.value, f.low, f.high, f.samples] for n, f in self.figures.items()}
        return {**asdict(self), "figures": figures}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Audited":
        """Invert `to_dict`."""
        figures = {
            name: Figure(value=value, low=low, high=high, samples=samples)
            for name, (value, low, high, samples) in values["figures"].items()
        }
        return cls(**{**values, "figures": figures})


def run_trial(kind: str, trial: int) -> list[Audited]:
    """Run trial number `trial` of one of `KINDS`, or of `digits`: replays of digits, in seconds."""
    return {
        "replays": _replays,
        "trained": _trained,
        "overtrained": _overtrained,
        "digits": lambda trial: _replays(trial, digits=True),
    }[kind](trial)


@dataclass(frozen=True, eq=False)
class _Bench:
    """A case with its reference, on which any number of generators is audited."""

    trial: int
    case: Case
    reference: Reference

    @classmethod
    def set_up(cls, trial: int, case: Case) -> "_Bench":
        return cls(trial, case, make_reference(case.training, case.held_out, None, trial))

    def audit(
        self, generator: str, samples: np.ndarray, losses: DenoisingLosses | None = None
    ) -> Audited:
        result = audit_samples(self.reference, samples, losses, seed=self.trial)
        return self.note(generator, len(samples), {**result.memorisation, **result.fidelity})

    def note(self, generator: str, samples: int, figures: dict[str, Figure]) -> Audited:
        return Audited(
            self.trial, generator, self.case.dataset, self.case.class_index,
            len(self.case.training), len(self.case.held_out), samples, figures,
        )  # fmt: skip


def _replays(trial: int, *, digits: bool = False) -> list[Audited]:
    case = make_case(trial, digits=digits)
    bench = _Bench.set_up(trial, case)
    random = np.random.default_rng([trial, 11])
    count = samples_wanted(len(case.training))
    audited = []
    for name, disguise in DISGUISES.items():
        audited.append(bench.audit(name, disguise(_draw(case, count, random), random)))
    with components_per(_HONEST_COMPONENTS):
        smooth = _gaussian(case, count, trial)
    audited.append(bench.audit("class Gaussian", smooth))
    with components_per(_LEAKING_COMPONENTS):
        leaking = _gaussian(case, count, trial)
    audited.append(bench.audit("class Gaussian, 8 images a component", leaking))
    mixed = np.concatenate([_draw(case, count // _MIX, random), smooth[count // _MIX :]])
    audited.append(bench.audit("10 % replay, 90 % Gaussian", mixed))
    audited.append(bench.audit("unseen real images", case.unseen[:count]))
    return audited


def _trained(trial: int) -> list[Audited]:
    case = make_case(trial, images=None, halved=True)
    if len(case.training) < _BRIEF_IMAGES:
        case = _larger(trial, case)
    with components_per(_HONEST_COMPONENTS):
        trained = _train(case, _BRIEF_STEPS, trial)
    bench = _Bench.set_up(trial, case)
    count = samples_wanted(len(case.training))
    samples = _sample(trained, count, trial)
    random = np.random.default_rng([trial, 12])
    mixed = np.concatenate([_draw(case, count // _MIX, random), samples[count // _MIX :]])
    audited = [
        bench.audit("trained briefly", samples, _attack(trained, case, trial)),
        bench.audit("10 % replay, 90 % trained briefly", mixed),
    ]
    strangers = replace(case, training=case.unseen[: len(case.training)])
    if len(strangers.training) >= _FEWEST_STRANGERS:
        apart = _Bench.set_up(trial, strangers)
        losses = _attack(trained, strangers, trial)
        audited.append(apart.audit("trained briefly, on other images", samples, losses))
    with components_per(_LEAKING_COMPONENTS):
        leaking = _attack(_train(case, _BRIEF_STEPS, trial), case, trial)
    figures = membership_figures(leaking, leaking.training_index, leaking.held_out_index)
    audited.append(bench.note("trained briefly, 8 images a component", 0, figures))
    return audited


def _overtrained(trial: int) -> list[Audited]:
    case = make_case(trial, images=_LONG_IMAGES, halved=True)
    trained = _train(case, _LONG_STEPS, trial)
    bench = _Bench.set_up(trial, case)
    samples = _sample(trained, samples_wanted(_LONG_IMAGES), trial)
    return [
        bench.audit("over-trained on 50 images", samples, _attack(trained, case, trial)),
        bench.audit("over-trained, by its samples alone", samples),
    ]


def _larger(trial: int, case: Case) -> Case:
    """What a class offers: brief training on 64 images is 15 passes over each, and not honest."""
    available = sum(len(part) for part in (case.training, case.held_out, case.unseen))
    return make_case(trial, images=min(_BRIEF_IMAGES, available * 8 // 10), halved=True)


@contextmanager
def components_per(images: int) -> Iterator[None]:
    """Let class Gaussians keep a component per so many images for a while."""
    before = gaussian.IMAGES_PER_COMPONENT
    gaussian.IMAGES_PER_COMPONENT = images
    try:
        yield
    finally:
        gaussian.IMAGES_PER_COMPONENT = before


def _attack(trained: "TrainedGenerator", case: Case, seed: int) -> DenoisingLosses:
    return denoising_losses(trained, case.training, case.held_out, seed=seed)


def _draw(case: Case, count: int, random: np.random.Generator) -> np.ndarray:
    return case.training[random.integers(0, len(case.training), count)]


def _gaussian(case: Case, count: int, seed: int) -> np.ndarray:
    """Draw from the Gaussian that the generator starts from, before any training."""
    import torch

    fitted = gaussian.fit_gaussian(torch.tensor(case.training).permute(0, 3, 1, 2))
    noise = torch.randn((count, *fitted.mean.shape), generator=torch.Generator().manual_seed(seed))
    drawn = fitted.colour(noise, 0.0) + fitted.mean
    return _levels((drawn * 0.5 + 0.5).clamp(0, 1).numpy())


def _train(case: Case, steps: int, seed: int) -> "TrainedGenerator":
    from client_agent.generator.presets import preset_for
    from client_agent.generator.training import Budget, train_generator

    size, channels = case.training.shape[1], case.training.shape[3]
    preset = preset_for(
        "tiny", size, channels, block_out_channels=(16, 32), norm_groups=8, batch_size=16
    )
    return train_generator(
        case.training, preset=preset, seed=seed, budget=Budget(steps=steps), device="cpu", threads=1
    )


def _sample(trained: "TrainedGenerator", count: int, seed: int) -> np.ndarray:
    from client_agent.generator.training import sample_torch

    random = np.random.default_rng([seed, 13])
    parts = []
    for start in range(0, count, 250):
        shape = (min(250, count - start), *trained.gaussian.mean.shape)
        parts.append(sample_torch(trained, random.standard_normal(shape, np.float32)))
    return _levels(np.concatenate(parts))


def _levels(images: np.ndarray) -> np.ndarray:
    """Float [n, C, H, W] in [0, 1] to uint8 [n, H, W, C]."""
    return (images.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
