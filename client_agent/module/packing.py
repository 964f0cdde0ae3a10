"""From a trained generator to a finished module in the outbox: export, card, signature, rename."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.errors import UsageError
from client_agent.home import Home
from client_agent.module.signing import sign_module
from client_agent.site import Site
from ff_protocol.card import Card, GeneratorCard, TrainingCard, bucket
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import storage_error, sync_folder, write_atomically
from ff_protocol.manifest import CARD_FILE, MODULE_FILE, describe_module

if TYPE_CHECKING:
    from client_agent.audit.audit import AuditResult
    from client_agent.generator.training import TrainedGenerator

_LONGEST = {"licence": 128, "terms": 2000}
_RECORDED_SOFTWARE = ("torch", "diffusers", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Terms:
    """Under which terms a module is given away; both go into its card.

    Attributes:
        licence: an SPDX licence expression, or a `LicenseRef-` of the parties' own.
        terms_of_use: in words.
    """

    licence: str = Card.model_fields["licence"].default
    terms_of_use: str = Card.model_fields["terms_of_use"].default

    def __post_init__(self) -> None:
        for name, text in (("licence", self.licence), ("terms", self.terms_of_use)):
            most = _LONGEST[name]
            if not 0 < len(text) <= most:
                raise UsageError(f"--{name} has {len(text)} characters, 1 to {most} are allowed")


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
    terms: Terms = Terms(),
    measure: "Callable[[Path], AuditResult | None]" = lambda model: None,
    before_placing: Callable[[str], None] = lambda digest: None,
) -> PackedModule:
    """Export, audit, describe and sign a generator, and put it into the outbox whole.

    A crash in between costs nothing: training left a finished checkpoint, and a rerun packs it.

    Args:
        site: whose module it is.
        class_name: the class it generates.
        images: how many images it was trained on; only their bucket is published.
        trained: the generator.
        terms: under which it is given away.
        measure: audits the exported `module.onnx`; its figures enter the card.
        before_placing: called with the digest when the module is whole and not in the outbox yet.

    Raises:
        StorageError: the disk refused; the outbox is as it was.
    """
    from client_agent.module.export import export_module

    def fill(building: Path) -> Card:
        export_module(trained, building / MODULE_FILE)
        audit = measure(building / MODULE_FILE)
        return Card(
            federation_id=site.trust.federation_id,
            site_id=site.site_id,
            class_name=class_name,
            class_index=site.spec.class_index(class_name),
            image=site.spec.image,
            generator=generator_card(trained),
            training=training_card(trained, images),
            differential_privacy=trained.guarantee,
            fidelity=audit.fidelity if audit else {},
            memorisation=audit.memorisation if audit else {},
            software={name: version(name) for name in _RECORDED_SOFTWARE},
            licence=terms.licence,
            terms_of_use=terms.terms_of_use,
            created_at=timestamp(utc_now()),
        )

    return _pack(site, class_name, fill, before_placing)


def repack_module(
    site: Site, class_name: str, card: Card, before_placing: Callable[[str], None]
) -> PackedModule:
    """Give the module in the outbox another card, and so another identity and signature.

    Args:
        site: whose module it is.
        class_name: its class.
        card: the new one.
        before_placing: called with the new digest when all is written and nothing replaced yet.

    Raises:
        StorageError: the disk refused; the outbox is as it was.
    """

    def fill(building: Path) -> Card:
        shutil.copyfile(site.home.outbox / class_name / MODULE_FILE, building / MODULE_FILE)
        return card

    return _pack(site, class_name, fill, before_placing)


def _pack(
    site: Site,
    class_name: str,
    fill: Callable[[Path], Card],
    before_placing: Callable[[str], None],
) -> PackedModule:
    destination = site.home.outbox / class_name
    building = site.home.outbox / ".building" / class_name
    restore_replaced(site.home)
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        card = fill(building)
        write_atomically(building / CARD_FILE, card.to_bytes())
        sign_module(building, site.home)
        digest, entries = describe_module(building)
        before_placing(digest)
        if destination.is_dir():
            destination.rename(_replaced(destination))
        building.rename(destination)
        sync_folder(site.home.outbox)
        shutil.rmtree(_replaced(destination), ignore_errors=True)
    except OSError as error:
        raise storage_error(error, destination) from error
    size = sum(entry.size for entry in entries.values())
    return PackedModule(class_name, digest, destination, size)


def restore_replaced(home: Home) -> None:
    """Put back what an interruption took out of the outbox between two renames.

    Raises:
        StorageError: the disk refused.
    """
    for aside in home.outbox.glob(".*.replaced") if home.outbox.is_dir() else ():
        place = home.outbox / aside.name.removeprefix(".").removesuffix(".replaced")
        try:
            if place.is_dir():
                shutil.rmtree(aside)
            else:
                aside.rename(place)
        except OSError as error:
            raise storage_error(error, place) from error


def _replaced(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.replaced")


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
