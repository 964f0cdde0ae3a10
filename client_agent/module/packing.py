"""From a trained generator to a finished module in the outbox: export, card, signature, rename."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.module.signing import sign_module
from client_agent.site import Site
from ff_protocol.card import Card, GeneratorCard, TrainingCard, bucket
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import storage_error, sync_folder, write_atomically
from ff_protocol.manifest import CARD_FILE, MODULE_FILE, describe_module

if TYPE_CHECKING:
    from client_agent.generator.training import TrainedGenerator

_RECORDED_SOFTWARE = ("torch", "diffusers", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class PackedModule:
    """A finished module of this site."""

    class_name: str
    digest: str
    folder: Path
    bytes: int


def pack_module(
    site: Site,
    class_name: str,
    images: int,
    trained: "TrainedGenerator",
    before_placing: Callable[[str], None] = lambda digest: None,
) -> PackedModule:
    """Export, describe and sign a generator, and put it into the outbox whole.

    A crash in between costs nothing: training left a finished checkpoint, and a rerun packs it.

    Args:
        site: whose module it is.
        class_name: the class it generates.
        images: how many images it was trained on; only their bucket is published.
        trained: the generator.
        before_placing: called with the digest when the module is whole and not in the outbox yet.

    Raises:
        StorageError: the disk refused; the outbox is as it was.
    """
    from client_agent.module.export import export_module

    destination = site.home.outbox / class_name
    building = site.home.outbox / ".building" / class_name
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        export_module(trained, building / MODULE_FILE)
        card = _card(site, class_name, images, trained)
        write_atomically(building / CARD_FILE, card.to_bytes())
        sign_module(building, site.home)
        digest, entries = describe_module(building)
        before_placing(digest)
        shutil.rmtree(destination, ignore_errors=True)
        building.rename(destination)
        sync_folder(site.home.outbox)
    except OSError as error:
        raise storage_error(error, destination) from error
    size = sum(entry.size for entry in entries.values())
    return PackedModule(class_name, digest, destination, size)


def _card(site: Site, class_name: str, images: int, trained: "TrainedGenerator") -> Card:
    return Card(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        class_name=class_name,
        class_index=site.spec.class_index(class_name),
        image=site.spec.image,
        generator=generator_card(trained),
        training=training_card(trained, images),
        differential_privacy=trained.guarantee,
        software={name: version(name) for name in _RECORDED_SOFTWARE},
        created_at=timestamp(utc_now()),
    )


def generator_card(trained: "TrainedGenerator") -> GeneratorCard:
    """Say which generator was trained."""
    return GeneratorCard(
        family="edm",
        preset=trained.preset.name,
        parameters=sum(weight.numel() for weight in trained.network.parameters()),
        sampler="DPM-Solver++(2M)",
        sampler_steps=trained.preset.sampler_steps,
    )


def training_card(trained: "TrainedGenerator", images: int) -> TrainingCard:
    """Say how it was trained; the number of `images` is bucketed."""
    return TrainingCard(
        images=bucket(images),
        steps=trained.steps,
        seconds=round(trained.seconds),
        device="cpu" if trained.device == "cpu" else "cuda",
        # Under differential privacy the loss is no part of what the guarantee covers.
        final_loss=round(trained.loss, 6) if trained.guarantee is None else None,
    )
