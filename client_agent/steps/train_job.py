"""Training one class as a job: what it depends on, and the call that does it, here or elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from client_agent.engines.engine import Channel, Work
from client_agent.policy.file import read_policy
from client_agent.site import Site
from client_agent.steps.train_class import ChosenClass
from client_agent.steps.train_options import TrainOptions
from ff_protocol import canonical
from ff_protocol.durations import format_duration

if TYPE_CHECKING:
    from client_agent.generator.presets import Preset
    from client_agent.generator.privacy import PrivacyTarget
    from client_agent.generator.training import Budget, TrainedGenerator, TrainingProgress


@dataclass(frozen=True, eq=False)
class ClassWork:
    """All that the training of a class depends on; see `train_generator` for each."""

    images: np.ndarray
    held_out: np.ndarray | None
    most_membership: float | None
    preset: "Preset"
    budget: "Budget"
    privacy: "PrivacyTarget | None"
    seed: int
    device: str
    threads: int | None


@dataclass(frozen=True, eq=False)
class Training:
    """What the job gives.

    Attributes:
        trained: the generator.
        threads: compute threads that it was trained with; they decide its bits.
    """

    trained: "TrainedGenerator"
    threads: int


def class_work(site: Site, what: ChosenClass, options: TrainOptions, threads: int | None) -> Work:
    """Describe the training of a class; its checkpoint is kept in the home.

    Args:
        site: whose class it is.
        what: its images.
        options: of the training.
        threads: that the engine gives to a class.
    """
    most_membership = None
    if options.audit:
        release = read_policy(site.home).release
        most_membership = release.most_membership(len(what.parts.trained_on))
    preset, budget, privacy = options.recipe(site.spec)
    # The checkpoint's name covers all that must be equal for it to be continued.
    settings = {
        "class": what.name,
        "images": canonical.sha256_hex(np.ascontiguousarray(what.images).tobytes()),
        "held_out": what.parts.held_out,
        "most_membership": most_membership,
        "preset": preset.to_dict(),
        "privacy": privacy,
        "seconds": budget.seconds,
        "seed": options.seed,
        "steps": budget.steps,
    }
    fingerprint = canonical.sha256_hex(repr(sorted(settings.items())).encode())[:16]
    description = ClassWork(
        images=what.training,
        held_out=what.held_out if what.parts.held_out else None,
        most_membership=most_membership,
        preset=preset,
        budget=budget,
        privacy=privacy,
        seed=options.seed,
        device=options.device,
        threads=threads,
    )
    return Work(description, site.home.training(what.name) / f"{fingerprint}.pt")


def train_class(work: ClassWork, channel: Channel) -> Iterator[Training]:
    """Job: train; interrupted, the next one goes on from the file that the channel keeps.

    Raises:
        DataError: images that do not fit. TrainingError: the loss is not finite.
    """
    import torch

    from client_agent.generator.training import train_generator

    def show(now: "TrainingProgress") -> None:
        remark = f"loss {now.loss:.4f} · {now.images_per_second:.0f} images/s"
        channel.progress(now.fraction, f"{remark} · {format_duration(now.seconds_left)} left")

    trained = train_generator(
        work.images,
        preset=work.preset,
        seed=work.seed,
        budget=work.budget,
        held_out=work.held_out,
        most_membership=work.most_membership,
        checkpoint=channel.kept,
        device=work.device,
        threads=work.threads,
        privacy=work.privacy,
        on_progress=show,
    )
    yield Training(trained, torch.get_num_threads())
