"""A patient withdraws: the modules are made again without the images and replaced in one step."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from client_agent.errors import UsageError
from client_agent.registry.modules import own_modules
from client_agent.registry.training_images import training_images, withdrawn_images
from client_agent.site import Site
from client_agent.sources.naming import find_images, read_names
from client_agent.sources.write_dicom import write_dicom
from client_agent.steps import withdraw as step
from client_agent.steps.fit import fit
from client_agent.steps.receive import receive
from client_agent.steps.send import send
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from client_agent.steps.withdraw import withdraw
from ff_protocol.manifest import describe_module
from ff_protocol.statements import PUBLICATION, REVOCATION
from tests.agents import agent
from tests.relays import Exchange, MemoryRelay

ONE, TWO, THREE = "hospital-1", "hospital-2", "hospital-3"


@pytest.fixture(scope="module")
def exchange(trained_homes, tmp_path_factory) -> Exchange:
    folder = tmp_path_factory.mktemp("exchange")
    return Exchange.make(trained_homes, folder, senders=(ONE, TWO), receiver=TWO)


@pytest.fixture
def relay(exchange, sites, tmp_path, monkeypatch) -> MemoryRelay:
    """Hospitals 1 and 2 have sent their modules, and hospital 2 uses both."""
    return exchange.take_up(sites, tmp_path, monkeypatch)


def digest_of(site: Site) -> str:
    (folder,) = own_modules(site.home).values()
    return describe_module(folder)[0]


def in_use(site: Site) -> set[str]:
    return {path.name for path in (site.home.root / "admitted").iterdir()}


def some_images(site: Site, count: int) -> list[str]:
    (record,) = training_images(site.home)
    return [image.identifier for image in record.used[:count]]


def test_one_signed_statement_replaces_the_module_everywhere_at_once(sites, relay):
    site, other = sites[ONE], sites[TWO]
    old = digest_of(site)
    names = some_images(site, 3)
    (before,) = training_images(site.home)

    done = withdraw(site, names, reason="a patient withdrew")

    new = digest_of(site)
    assert new != old
    assert done.successors == {"zero": new}
    assert [(item.module, item.withdrawn) for item in done.affected] == [(old, 3)]
    assert (done.images, done.relayed) == (3, True)
    assert in_use(site) == {new}
    (after,) = training_images(site.home)
    assert len(after.used) == len(before.used) - 3
    assert not set(names) & {image.identifier for image in after.used}
    revocations = [item for item in relay.statements if relay.kind(item)[0] == REVOCATION]
    (payload,) = [relay.kind(item)[1] for item in revocations]
    assert payload.digest == done.statement
    assert payload.value["subject"][0]["digest"]["sha256"] == old
    assert payload.value["predicate"]["successors"] == [new]

    received = receive(other)
    assert (received.warnings, received.refused) == ([], {})
    assert in_use(other) == {new, digest_of(other)}


def test_no_receiver_ever_uses_both_or_the_successor_alone(sites, relay):
    site, other = sites[ONE], sites[TWO]
    old = digest_of(site)
    withdraw(site, some_images(site, 1))
    new = digest_of(site)
    relay.rewrite = relay.without(REVOCATION, of=ONE)  # the publication without the statement
    receive(other)
    assert in_use(other) == {old, digest_of(other)}
    relay.rewrite = relay.without(PUBLICATION, of=ONE)  # the statement without the publication
    other_folder = other.home.publications / f"{new}.dsse"
    other_folder.unlink()
    receive(other)
    assert in_use(other) == {digest_of(other)}  # what a patient withdrew waits for nothing
    relay.rewrite = None
    receive(other)
    assert in_use(other) == {new, digest_of(other)}


class KilledError(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("moment", ["after the statement", "before the statement"])
def test_a_receiver_that_is_killed_between_the_two_halves_does_the_other_half(
    sites, relay, monkeypatch, moment
):
    site, other = sites[ONE], sites[TWO]
    old = digest_of(site)
    withdraw(site, some_images(site, 1))
    new = digest_of(site)
    name = "client_agent.steps.intake.store_revocation"
    original = step.sign_revocation.__globals__["store_revocation"]

    def killed(*arguments):
        if moment == "after the statement":
            original(*arguments)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(name, killed)
        patch.setattr("client_agent.steps.receive.apply_revocations", lambda *_: None)
        with pytest.raises(KilledError):
            receive(other)
    if moment == "after the statement":
        fit(other)  # offline: the successor comes into use, the predecessor is forgotten
    else:
        assert in_use(other) == {old, digest_of(other)}
        receive(other)
    assert in_use(other) == {new, digest_of(other)}


@pytest.mark.parametrize("step_name", ["train", "_sign", "apply_revocations", "finish_unlearning"])
def test_killed_anywhere_the_same_command_ends_in_the_same_state(
    sites, relay, monkeypatch, step_name
):
    site = sites[ONE]
    old = digest_of(site)
    names = some_images(site, 2)

    def killed(*arguments, **options):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(step, step_name, killed)
        with pytest.raises(KilledError):
            withdraw(site, names)
    if step_name in ("train", "_sign"):
        assert send(site).modules == ()  # half a withdrawal is not sent
    done = withdraw(site, names)
    new = digest_of(site)
    assert new != old
    assert in_use(site) == {new}
    assert done.images == 2
    assert len([item for item in relay.statements if relay.kind(item)[0] == REVOCATION]) == 1
    assert not site.home.pending_withdrawal.exists()
    again = withdraw(site, names)
    assert (again.affected, again.statement) == ((), None)
    assert digest_of(site) == new


def test_withdrawn_images_are_left_out_of_every_later_training(sites, relay, digits):
    site = sites[ONE]
    names = some_images(site, 4)
    withdraw(site, names)
    (record,) = training_images(site.home)
    train(site, TrainOptions(data=digits, classes=("zero",), steps=2, threads=1, retrain=True))
    for later in training_images(site.home):
        assert not set(names) & {image.identifier for image in later.used}
        assert len(later.used) == len(record.used)


def test_with_too_few_images_left_the_module_goes_without_a_successor(sites, relay):
    site = sites[ONE]
    (record,) = training_images(site.home)
    done = withdraw(site, some_images(site, len(record.used) - 15))
    assert done.successors == {}
    assert done.statement is not None
    assert own_modules(site.home) == {}
    assert in_use(site) == set()


def test_a_look_changes_nothing_and_unknown_names_stop_it(sites, relay, tmp_path):
    site = sites[ONE]
    before = {path: path.read_bytes() for path in site.home.root.rglob("*") if path.is_file()}
    seen = withdraw(site, [*some_images(site, 2), "train/99999"], look_only=True)
    assert (seen.images, seen.unknown, seen.statement) == (2, ("train/99999",), None)
    assert [item.withdrawn for item in seen.affected] == [2]
    with pytest.raises(UsageError, match="1 of these images went into no module"):
        withdraw(site, [*some_images(site, 2), "train/99999"])
    with pytest.raises(UsageError):
        withdraw(site, ["nothing"], skip_unknown=True)
    assert before == {path: path.read_bytes() for path in before}
    listed = tmp_path / "list.txt"
    listed.write_text("# a comment\n\n train/1 \ntrain/2\n")
    assert read_names(listed) == ["train/1", "train/2"]
    listed.write_text("# nothing\n")
    with pytest.raises(UsageError, match="names no image"):
        read_names(listed)


def test_the_command_shows_the_modules_as_one_document(sites, relay, tmp_path):
    site = sites[ONE]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(some_images(site, 2)))
    finished = agent(site.home.root, "withdraw", "--images", listed, "--dry-run", "--json")
    assert finished.code == 0, finished.err
    assert finished.document["affected"][0]["module"] == digest_of(site)
    listed.write_text("nobody\n")
    assert agent(site.home.root, "withdraw", "--images", listed).code == 2


def test_the_list_of_images_is_for_the_sites_eyes_and_never_leaves_it(sites, relay):
    site = sites[ONE]
    (record,) = training_images(site.home)
    withdraw(site, some_images(site, 2))
    for path in (
        *site.home.root.glob("training-images/*"),
        site.home.withdrawn_images,
    ):
        assert path.stat().st_mode & 0o777 == 0o600
    wire = b"".join(relay.statements) + b"".join(
        path.read_bytes() for path in relay.folder.rglob("*") if path.is_file()
    )
    for image in record.used:
        assert image.pixels.encode() not in wire
        assert f'"{image.identifier}"'.encode() not in wire
    assert str(record.options["data"]).encode() not in wire


def dicom_tree(root: Path, count: int = 18) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        image = random.integers(0, 255, (8, 8, 1), dtype=np.uint8)
        write_dicom(image, root / "one" / f"{number:02d}", patient_id=f"p{number}", seed=number)
    return root


def test_images_are_found_by_uid_path_and_hash_of_the_file(authority, tmp_path):
    import pydicom

    site = authority.join(tmp_path / "home", "hospital-9")
    data = dicom_tree(tmp_path / "images")
    train(site, TrainOptions(data=data, steps=1, threads=1))
    (record,) = training_images(site.home)
    path = data / "one" / "03"
    by_hash = hashlib.sha256(path.read_bytes()).hexdigest()
    uid = str(pydicom.dcmread(path).SOPInstanceUID)
    pixels = next(item.pixels for item in record.used if item.identifier == "one/03")
    for name in ("one/03", str(path), uid, by_hash, f"sha256:{by_hash}", pixels):
        (hits,) = find_images([name], record.used, data).values()
        assert [item.identifier for item in hits] == ["one/03"]
    assert find_images(["1.2.3", "0" * 64, "../03"], record.used, data) == {}
    moved = tmp_path / "moved"
    shutil.move(data, moved)
    done = withdraw(site, [uid], data=moved)
    assert done.statement is None  # it had never been published: nothing to revoke
    assert json.loads(site.home.withdrawn_images.read_text())["images"]
    assert "one/03" in {item.identifier for item in withdrawn_images(site.home)}
    (after,) = [r for r in training_images(site.home) if r.module == digest_of(site)]
    assert len(after.used) == 17
