"""Auditing own modules: figures enter the signed card, or it is said why there are none."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("torch")

from client_agent.audit.audit import AuditResult
from client_agent.audit.hold_out import MIN_HELD_OUT
from client_agent.errors import DataError, NotReadyError
from client_agent.module.signing import check_signature
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.training_images import (
    ImageName,
    pixels_digest,
    store_training_images,
    training_images,
    withdraw_images,
)
from client_agent.sources.labelled import LabelledImages
from client_agent.steps.audit import audit
from client_agent.steps.send import send
from client_agent.steps.train import train
from client_agent.steps.train_class import select_class
from client_agent.steps.train_options import TrainOptions
from ff_protocol.card import Figure
from ff_protocol.manifest import describe_file, describe_module
from tests.relays import MemoryRelay

ONE = "hospital-1"


class Notes:
    """A progress that remembers remarks."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def site(sites):
    """Hospital 1 with one module that was trained without an audit, under the default policy."""
    sites[ONE].home.policy_file.unlink()
    return sites[ONE]


def test_a_module_trained_without_an_audit_gets_its_figures_and_may_leave(
    site, tmp_path, monkeypatch
):
    folder = site.home.outbox / "zero"
    before, _ = describe_module(folder)
    (record,) = training_images(site.home)
    assert len(record.held_out) == len(record.used) // 5
    assert not {item.pixels for item in record.images} & {item.pixels for item in record.held_out}

    (done,) = audit(site)

    assert (done.entered, done.not_auditable, done.objections) == (True, None, ())
    digest, entries = describe_module(folder)
    assert done.digest == digest != before
    card = read_card(folder)
    check_signature(folder, entries, ONE, site.trust, site.home.root_certificate)
    assert {item.name for item in done.figures} == {*card.memorisation, *card.fidelity}
    assert card.memorisation
    assert any(item.bound is not None for item in done.figures)
    assert all(item.paper for item in done.figures)
    (record,) = training_images(site.home)
    assert record.module == digest

    (again,) = audit(site, ("zero",))
    assert (again.entered, again.digest) == (False, digest)
    assert [(item.name, item.figure) for item in again.figures] == [
        (item.name, item.figure) for item in done.figures
    ]
    MemoryRelay(tmp_path / "relay", site.trust).connect(monkeypatch)
    assert [item.digest for item in send(site).modules] == [digest]


def test_an_audit_needs_the_images_and_the_network(site, tmp_path):
    with pytest.raises(NotReadyError, match="its images are not at"):
        audit(site, data=tmp_path / "nowhere")
    with pytest.raises(NotReadyError, match="no module of class 'one'"):
        audit(site, ("one",))
    (record,) = training_images(site.home)
    lost = dataclasses.replace(record, images=(*record.images, ImageName("train/9999", "0" * 64)))
    store_training_images(site.home, lost)
    with pytest.raises(NotReadyError, match=r"1 of its \d+ images are not there any more"):
        audit(site)
    store_training_images(site.home, record)
    site.home.generator(record.module).unlink()
    with pytest.raises(NotReadyError, match="the network behind this module is not here"):
        audit(site)


def test_a_module_without_a_hold_out_cannot_be_audited_and_says_so(site):
    (record,) = training_images(site.home)
    store_training_images(site.home, dataclasses.replace(record, held_out=()))
    (done,) = audit(site)
    assert "no images were kept aside" in done.not_auditable
    assert [item.figure for item in done.objections] == ["audit"]


def of_class_zero(images: np.ndarray, groups: tuple[str, ...] | None = None) -> LabelledImages:
    return LabelledImages(
        images=images,
        labels=np.zeros(len(images), np.int64),
        classes=("zero", "one", "two"),
        identifiers=tuple(f"train/{index}" for index in range(len(images))),
        groups=groups or ("",) * len(images),
    )


def choose(site, data: LabelledImages):
    notes = Notes()
    chosen = select_class(site, data, "zero", TrainOptions(data=site.home.root), notes)
    return chosen, " ".join(notes.texts)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)


def test_identical_images_are_one_image(site):
    with pytest.raises(DataError, match="1 distinct images among 40 are too few"):
        choose(site, of_class_zero(np.full((40, 8, 8, 1), 7, np.uint8)))


def test_a_class_too_small_to_audit_is_trained_whole_and_it_says_so(site):
    chosen, told = choose(site, of_class_zero(noise(20)))
    assert (len(chosen.training), len(chosen.held_out)) == (20, 0)
    assert "nothing can be audited: it has 20 distinct images, 24 are the least" in told


def test_patients_with_many_images_stay_on_one_side_and_few_cannot_be_parted(site):
    patients = tuple(f"patient-{index // 4}" for index in range(60))
    chosen, told = choose(site, of_class_zero(noise(60), patients))
    assert told == ""
    sides = [{patients[index] for index in part} for part in (
        chosen.parts.trained_on, chosen.parts.held_out)]  # fmt: skip
    assert not sides[0] & sides[1]
    assert len(chosen.held_out) >= MIN_HELD_OUT
    _, told = choose(site, of_class_zero(noise(60), ("patient-1", "patient-2") * 30))
    assert "its images come from 2 patients" in told


def test_copies_are_named_and_withdrawn_images_are_on_neither_side(site):
    images = noise(40)
    data = of_class_zero(np.concatenate([images, images[:5]]))
    withdraw_images(site.home, [ImageName("train/3", pixels_digest(images[3]))])
    chosen, told = choose(site, data)
    assert "2 withdrawn images are left out" in told
    assert "4 images are exact copies" in told
    record = chosen.record("0" * 64, TrainOptions(data=site.home.root))
    assert pixels_digest(images[3]) not in {item.pixels for item in record.used}
    assert len(record.used) == 43


def test_an_interrupted_audit_is_made_again_and_the_training_is_not(site, digits, monkeypatch):
    found = AuditResult(memorisation={"membership_auc": Figure(value=0.5, samples="64-127")})
    calls: list[str] = []

    def audited(site, name, model, *rest):
        calls.append(describe_file(model).sha256)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr("client_agent.steps.train_class.audit_trained", audited)
    options = TrainOptions(data=digits, classes=("one",), steps=2, threads=1, seed=5)
    with pytest.raises(KeyboardInterrupt):
        train(site, options)
    assert "one" not in own_modules(site.home)
    (checkpoint,) = site.home.training("one").glob("*.pt")
    monkeypatch.setattr("client_agent.generator.run.Run.take_step", None)  # no step is taken
    (module,) = train(site, options).modules
    assert not checkpoint.exists()
    assert len(set(calls)) == 1  # the same module was audited twice
    assert read_card(module.folder).memorisation == found.memorisation
    curve = json.loads(site.home.learning_curve(module.digest).read_text())
    assert [point["step"] for point in curve] == [2]
    assert 0.5 < curve[0]["held_out_loss"] < 2
