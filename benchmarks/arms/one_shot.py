"""One-shot rivals that exchange another kind of generator: Gaussian, VAE, the stock DDPM.

All get what Federated Factory gets: the same seconds a module, the same number of samples a class
as far as the time for synthesis allows, and the same classifier trained on synthetic images only.
"""

import time
from collections import Counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.arms.classifiers import train_classifier
from benchmarks.arms.prevalence import choose_prevalence
from benchmarks.recovery.budget import make_plan
from benchmarks.recovery.data import Labelled
from benchmarks.recovery.task import Learnt, Task
from ff_protocol.card import bucket


class Generator(Protocol):
    """A trained generator of one class of one site."""

    @property
    def bytes(self) -> int:
        """Size of what travels."""

    def sample(self, count: int, seed: int, seconds: float) -> NDArray[np.uint8]:
        """Return uint8 [n, H, W, C]: `count` images, fewer if `seconds` do not suffice."""


class Family(Protocol):
    """How one kind of generator is trained."""

    def __call__(
        self,
        images: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        *,
        seconds: float,
        steps: int | None,
        seed: int,
        threads: int,
    ) -> Generator:
        """Train on one class of one site until `seconds` or `steps` are used up.

        `validation` are images of that class, maybe none.
        """


def find_family(name: str) -> Family:
    """Return `gaussian`, `vae` or `ddpm`."""
    if name == "gaussian":
        from benchmarks.arms.gaussian import fit_gaussian

        return fit_gaussian
    if name == "vae":
        from benchmarks.arms.vae import train_vae

        return train_vae
    from benchmarks.arms.ddpm import train_ddpm

    return train_ddpm


def from_generators(task: Task, *, family: str) -> Learnt:
    """Train a generator for every class of every site, sample, train one classifier."""
    started = time.monotonic()
    train = find_family(family)
    holdings = task.holdings()
    holders = Counter(label for _, label in holdings)
    plan = make_plan(
        task.rule,
        task.seconds,
        classes=len(holders),
        modules=len(holdings),
        # The share that synthesis may take is reserved; what it yields is the generator's affair.
        sampling_rate=task.rule.samples_per_class
        * len(holders)
        / (task.rule.synthesis_share * task.seconds),
        training_rate=task.training_rate,
        settings=task.settings,
    )
    sampling_seconds = task.rule.synthesis_share * task.seconds / len(holders)
    images, labels, held, travelled = [], [], [], 0
    with task.progress.task(family, len(holdings)) as shown:
        for number, (site, label) in enumerate(holdings):
            own = task.images_of(site, label)
            held.append((label, bucket(len(own))))
            generator = train(
                own,
                task.validation.images[task.validation.labels == label],
                seconds=plan.module_seconds,
                steps=task.rule.module_steps,
                seed=_seed(task.seed, number),
                threads=task.settings.threads,
            )
            travelled += generator.bytes
            made = generator.sample(
                -(-plan.samples // holders[label]),
                _seed(task.seed, number),
                sampling_seconds / holders[label],
            )
            images.append(made)
            labels.append(np.full(len(made), label, dtype=np.int64))
            shown.update(number + 1, task.classes[label])
    synthetic = Labelled(np.concatenate(images), np.concatenate(labels))
    left = task.seconds - (time.monotonic() - started)
    classifier = train_classifier(task, synthetic, left)
    predict, prevalence = choose_prevalence(classifier.predictor(task), task, held)
    return Learnt(
        (predict,),
        bytes_per_site=travelled,
        rounds=1,
        details={
            **classifier.describe(),
            "prevalence": [prevalence],
            "modules": len(holdings),
            "module_seconds": round(plan.module_seconds, 1),
            "samples": np.bincount(synthetic.labels, minlength=len(task.classes)).tolist(),
        },
    )


def _seed(seed: int, number: int) -> int:
    return seed * 10_000 + number
