"""Gather what the report says from a site's home: small files, signatures, some images."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client_agent.module.signing import check_signature
from client_agent.registry.fit_record import FitRecord, read_fit_record
from client_agent.registry.modules import AdmittedModule, usable_modules
from client_agent.report import lights
from client_agent.report.content import (
    CertificateEntry,
    Content,
    LearningCurve,
    ModuleEntry,
    Sheet,
)
from client_agent.report.pictures import evenly
from client_agent.site import Site
from client_agent.steps.measure import measure
from client_agent.steps.record import verify_record
from client_agent.steps.verify_unlearning import read_certificate
from client_agent.synthesis.dataset import plan_dataset
from client_agent.synthesis.shards import ShardStore
from ff_protocol import __version__, canonical
from ff_protocol.card import Card
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MIB
from ff_protocol.manifest import describe_module

if TYPE_CHECKING:
    from client_agent.sources.labelled import LabelledImages

_MAX_CURVE_BYTES = 16 * MIB
_MAX_CURVE_POINTS = 400
_SYNTHETIC_PER_CLASS = 24


def gather(site: Site, loaded: "LabelledImages | None", *, shareable: bool) -> Content:
    """Collect the page's content.

    Args:
        site: whose home.
        loaded: labelled real images, or None.
        shareable: no real image goes into the content.
    """
    record = read_fit_record(site.home)
    modules = usable_modules(site.home, site.spec)
    entries, whole = _record(site)
    return Content(
        edition="shareable" if shareable else "local",
        site=site.site_id,
        federation=site.identity.federation_name,
        federation_id=site.trust.federation_id,
        created_at=timestamp(utc_now()),
        version=__version__,
        classes=site.spec.classes,
        known_classes=() if record is None else record.classes,
        classifier=None if record is None else record.classifier,
        dataset_root=None if record is None else record.dataset_root,
        samples=0 if record is None else record.samples,
        up_to_date=record is None or set(record.modules) == {item.digest for item in modules},
        modules=_modules(site, modules, record),
        curves=_curves(site, modules, record),
        results=None if loaded is None or record is None else measure(site, loaded),
        sheets=_sheets(site, modules, None if shareable else loaded),
        certificates=_certificates(site),
        bytes_sent=_bytes_sent(site),
        record_entries=entries,
        record_whole=whole,
        software={} if record is None else record.reproducibility,
    )


def _modules(
    site: Site, modules: tuple[AdmittedModule, ...], record: FitRecord | None
) -> tuple[ModuleEntry, ...]:
    portions = {} if record is None else {item.module: item for item in record.state.portions}
    found = []
    for module in sorted(modules, key=lambda item: (item.card.class_index, item.card.site_id)):
        card, portion = module.card, portions.get(module.digest)
        figures = lights.rows(card, _bounds(site, card))
        generator, privacy = card.generator, card.differential_privacy
        found.append(
            ModuleEntry(
                digest=module.digest,
                own=card.site_id == site.site_id,
                class_name=card.class_name,
                site=card.site_id,
                created_at=card.created_at,
                generator=f"{generator.family} {generator.preset}, "
                f"{generator.parameters / 1e6:.1f} M weights",
                training_images=card.training.images,
                steps=card.training.steps,
                seconds=card.training.seconds,
                device=card.training.device,
                bytes=sum(path.stat().st_size for path in module.folder.iterdir()),
                samples=0 if portion is None else portion.samples,
                root=None if portion is None else portion.root,
                signature=_signature_problem(site, module),
                figures=figures,
                light=lights.overall(figures),
                waiver="" if card.waiver is None else card.waiver.reason,
                privacy=""
                if privacy is None
                else f"epsilon {privacy.epsilon:g}, delta {privacy.delta:g} for one image",
            )
        )
    return tuple(found)


def _bounds(site: Site, card: Card) -> Mapping[str, Any]:
    """This site's bounds for a card's figures; none where its policy sets none."""
    from client_agent.policy.file import read_policy

    bounds = getattr(read_policy(site.home).release, "bounds", None)
    return {} if bounds is None else dict(bounds(card).root)


def _signature_problem(site: Site, module: AdmittedModule) -> str:
    try:
        digest, entries = describe_module(module.folder)
        if digest != module.digest:
            return "the files are not those that were admitted"
        check_signature(
            module.folder, entries, module.card.site_id, site.trust, site.home.root_certificate
        )
    except FederatedFactoryError as error:
        return error.message
    return ""


def _curves(
    site: Site, modules: tuple[AdmittedModule, ...], record: FitRecord | None
) -> tuple[LearningCurve, ...]:
    own = [module for module in modules if module.card.site_id == site.site_id]
    found = [
        curve
        for module in own
        if (curve := read_curve(site.home.learning_curve(module.digest), module.card.class_name))
    ]
    if record is not None and record.losses:
        passes = tuple(float(number) for number in range(1, len(record.losses) + 1))
        found.append(LearningCurve("classifier", "pass", passes, record.losses))
    return tuple(found)


def read_curve(path: Path, title: str) -> LearningCurve | None:
    """Read an own module's learning curve; None where there is none or it has another form."""
    if not path.is_file():
        return None
    try:
        data = read_bounded(path, _MAX_CURVE_BYTES, "learning curve")
        points = canonical.loads(data, max_bytes=_MAX_CURVE_BYTES, what=path.name)
        steps = [float(point["step"]) for point in points]
        losses = [float(point["loss"]) for point in points]
        held = [
            (float(point["step"]), float(point["held_out_loss"]))
            for point in points
            if point.get("held_out_loss") is not None
        ]
    except (FederatedFactoryError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if not losses:
        return None
    kept = np.unique(np.linspace(0, len(steps) - 1, _MAX_CURVE_POINTS).astype(int))
    return LearningCurve(
        title=title,
        unit="step",
        steps=tuple(steps[index] for index in kept),
        losses=tuple(losses[index] for index in kept),
        held_out=tuple(held),
    )


def _sheets(
    site: Site, modules: tuple[AdmittedModule, ...], loaded: "LabelledImages | None"
) -> tuple[Sheet, ...]:
    store = ShardStore(site.home.shards, site.spec, site.trust.federation_id)
    image = site.spec.image
    nothing = np.zeros((0, image.size, image.size, image.channels), dtype=np.uint8)
    synthetic: dict[str, list[np.ndarray]] = {}
    for portion in plan_dataset(modules, site.spec):
        digest, count = portion.module.digest, min(portion.count, _SYNTHETIC_PER_CLASS)
        if store.has(digest, count):
            images = synthetic.setdefault(portion.module.card.class_name, [])
            images.append(np.concatenate(store.read(digest, count)))
    found = []
    for index, name in enumerate(site.spec.classes):
        real = None
        if loaded is not None and (loaded.labels == index).any():
            real = evenly(loaded.images[loaded.labels == index])
        # Every module of the class is shown, in equal parts.
        parts = synthetic.get(name, [])
        share = -(-_SYNTHETIC_PER_CLASS // max(1, len(parts)))
        made = np.concatenate([nothing, *(part[:share] for part in parts)])
        if len(made) or real is not None:
            found.append(Sheet(name, made, real))
    return tuple(found)


def _certificates(site: Site) -> tuple[CertificateEntry, ...]:
    found = []
    for path in sorted(site.home.unlearning_certificates.glob("*.dsse")):
        try:
            item = read_certificate(site, path)
        except FederatedFactoryError as error:
            found.append(CertificateEntry(path.name, error.message))
            continue
        after = item.after
        found.append(
            CertificateEntry(
                name=path.name,
                problem="",
                certified_at=item.certified_at,
                modules=item.modules,
                statements=item.statements,
                classifier_before=item.classifier_before,
                classifier_after=None if after is None else after.classifier,
                root_after=None if after is None else after.dataset_root,
                classes_after=() if after is None else after.classes,
            )
        )
    return tuple(sorted(found, key=lambda entry: (entry.certified_at, entry.name)))


def _bytes_sent(site: Site) -> int:
    sent = [entry for entry in site.log.entries() if entry["event"] == "module_sent"]
    return sum(int(entry["details"].get("bytes", 0)) for entry in sent)


def _record(site: Site) -> tuple[int, bool]:
    """Return the number of entries of the site's record, and whether it is whole."""
    try:
        return verify_record(site).entries, True
    except FederatedFactoryError:
        return sum(1 for _ in site.log.entries()), False
