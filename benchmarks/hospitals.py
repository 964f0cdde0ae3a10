"""The federation that the unlearning benchmark takes apart: homes here, briefly trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import seconds_of
from client_agent.audit.hold_out import MIN_HELD_OUT, MIN_IMAGES_PER_CLASS
from client_agent.demo.datasets import DemoData
from client_agent.registry.modules import own_modules, place
from client_agent.registry.statements import store_publication
from client_agent.site import Site
from client_agent.steps.send import sign_publication
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from ff_protocol import dsse
from ff_protocol.clock import utc_now
from ff_protocol.files import write_atomically
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import read_publication

MEMBERS = MIN_IMAGES_PER_CLASS + MIN_HELD_OUT - 1
"""Images of the first class that the last site holds; the attack looks for these.

So few that none is held out: nothing ends the training when it begins to memorise.
"""


@dataclass(frozen=True)
class Scale:
    """How large the federation is: `replay` is the training of the module that memorises."""

    dataset: str
    classes: int
    samples: int
    training: dict[str, Any]
    replay: dict[str, Any]
    epochs: int | None


def choose_members(data: DemoData) -> tuple[np.ndarray, np.ndarray]:
    """Images of the first class: those that the last site holds, and others that nobody trains on.

    Both are drawn at random from one set, so that an attack can only succeed by what was trained.
    """
    of_class = data.train_images[data.train_labels == 0]
    order = np.random.Generator(np.random.Philox(0)).permutation(len(of_class))
    strangers = min(len(of_class) // 3, 256)
    return of_class[order[:MEMBERS]], of_class[order[MEMBERS : MEMBERS + strangers]]


def train_all(
    sites: list[Site],
    data: DemoData,
    members: np.ndarray,
    strangers: np.ndarray,
    scale: Scale,
    folder: Path,
) -> float:
    """Train every module; return the seconds that it took, export and signing included."""
    kept = {image.tobytes() for image in (*members, *strangers)}
    total = 0.0
    for label, site in enumerate(sites):
        # An audit would keep the module that memorises at home.
        write_atomically(site.home.policy_file, b"release: {require_audit: false}")
        images = data.train_images[data.train_labels == label]
        if label == 0:
            images = np.stack([image for image in images if image.tobytes() not in kept])
        jobs = [(label, images, scale.training)]
        if site is sites[-1]:
            jobs.append((0, members, scale.replay))
        for number, chosen, budget in jobs:
            path = folder / f"{site.site_id}-{number}.npz"
            names = np.array(data.classes[: scale.classes])
            labels = np.full((len(chosen), 1), number)
            np.savez(path, train_images=chosen, train_labels=labels, class_names=names)
            options = TrainOptions(data=path, threads=1, audit=False, **budget)
            seconds, _ = seconds_of(lambda site=site, options=options: train(site, options))
            total += seconds
    return total


def share_modules(senders: list[Site], receiver: Site) -> None:
    """Give the receiver every module with its publication."""
    for sender in senders:
        for name, module in own_modules(sender.home).items():
            digest, entries = describe_module(module)
            envelope = sign_publication(sender, name, digest, entries)
            payload = dsse.verify(envelope, receiver.trust, (Role.SITE,), at=utc_now())
            limit = receiver.spec.policy.max_module_bytes
            publication = read_publication(payload, max_module_bytes=limit)
            store_publication(receiver.home, publication, envelope)
            place(module, receiver.home.admitted(digest), copy=True)
