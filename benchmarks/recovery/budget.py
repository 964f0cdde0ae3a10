"""How a budget of seconds is divided between generators, synthesis and classifier: one rule.

    synthesis    at most `synthesis_share` of the budget: as many samples a class, up to
                 `samples_per_class`, as the measured sampling rate makes in that time
    classifier   the product's own amount of work (`ClassifierSettings.epochs_for`), at most
                 `classifier_share` of the budget
    generators   what is left after a reserve; every module gets the same, as hospitals that train
                 side by side would give it

Rates are measured first, within the budget. Once the generators are done, the clock has the last
word: the classifier makes as many passes as the time that is really left allows.
"""

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from client_agent.classifier.settings import ClassifierSettings
from client_agent.classifier.training import fit_classifier

BASELINE_SECONDS = 1080.0
"""Most that an arm without generators takes, so that each row can be run alone in 20 minutes."""
_FEWEST_BATCHES, _MOST_BATCHES, _MEASURED_SECONDS = 4, 64, 3.0


@dataclass(frozen=True)
class BudgetRule:
    """The numbers of the rule above; shares are of the whole budget.

    Attributes:
        classifier_share: upper bound.
        synthesis_share: upper bound.
        samples_per_class: upper bound; the data set's size where time allows.
        fewest_samples: lower bound of samples a class, whatever it takes.
        reserve: left for export, loading and a machine that slows down.
        module_steps: most training steps of a generator, for runs that must not depend on the
            machine's speed; None lets the seconds decide alone.
    """

    classifier_share: float = 0.25
    synthesis_share: float = 0.08
    samples_per_class: int = 8000
    fewest_samples: int = 40
    reserve: float = 0.03
    module_steps: int | None = None


@dataclass(frozen=True)
class Plan:
    """What one budget buys.

    Attributes:
        samples: synthetic images a class.
        module_seconds: training time of a generator.
        synthesis_seconds: expected.
        classifier_seconds: expected.
    """

    samples: int
    module_seconds: float
    synthesis_seconds: float
    classifier_seconds: float


DEFAULT_RULE = BudgetRule()


def make_plan(
    rule: BudgetRule,
    seconds: float,
    *,
    classes: int,
    modules: int,
    sampling_rate: float,
    training_rate: float,
    settings: ClassifierSettings,
    spent: float = 0.0,
    step: int = 1,
) -> Plan:
    """Divide `seconds`.

    Args:
        rule: the shares.
        seconds: the whole budget.
        classes: how many classes have a generator.
        modules: how many generators there are.
        sampling_rate: images/s of a module.
        training_rate: images/s of the classifier's training.
        settings: the classifier's recipe.
        spent: seconds already used up, for measuring.
        step: samples a class are a multiple of this.
    """
    pays_for = int(rule.synthesis_share * seconds * sampling_rate / classes)
    samples = min(rule.samples_per_class, max(pays_for, rule.fewest_samples))
    samples = max(step, samples // step * step)
    synthesis = samples * classes / sampling_rate
    images = samples * classes
    work = settings.epochs_for(images) * images / training_rate
    classifier = min(rule.classifier_share * seconds, work)
    left = seconds * (1 - rule.reserve) - spent - synthesis - classifier
    # However slow the machine, some training must take place.
    return Plan(samples, max(left, 0.1 * seconds) / modules, synthesis, classifier)


def within(settings: ClassifierSettings, images: int, seconds: float, rate: float) -> int:
    """Return the recipe's passes over `images`, fewer if `seconds` do not suffice, at least one."""
    return max(1, min(settings.epochs_for(images), math.floor(seconds * rate / images)))


def measure_training_rate(
    settings: ClassifierSettings, image_size: int, channels: int, classes: int
) -> float:
    """Return images/s of the classifier's training, on noise: some seconds of it, once warm."""
    first = _time_batches(_FEWEST_BATCHES, settings, image_size, channels, classes)
    fitting = int(_FEWEST_BATCHES * _MEASURED_SECONDS / first)
    batches = min(max(fitting, _FEWEST_BATCHES), _MOST_BATCHES)
    seconds = _time_batches(batches, settings, image_size, channels, classes)
    return settings.batch_size * batches / seconds


def _time_batches(
    batches: int, settings: ClassifierSettings, image_size: int, channels: int, classes: int
) -> float:
    count = max(settings.batch_size * batches, classes)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, image_size, image_size, channels), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % classes
    names = tuple(f"c{index}" for index in range(classes))
    started = time.monotonic()
    fit_classifier(images, labels, classes=names, settings=replace(settings, epochs=1))
    return max(time.monotonic() - started, 1e-6)
