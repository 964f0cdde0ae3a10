"""Real medical images at their true shapes: train, pack, admit, synthesise and fit."""

from pathlib import Path

import numpy as np
import pytest

from client_agent.classifier.prediction import ClassifierFile
from client_agent.generator.presets import preset_for
from client_agent.generator.training import Budget, train_generator
from client_agent.module.admission import check_module
from client_agent.preparation.prepare import Recipe, read_recipe
from client_agent.registry.modules import own_modules, place
from client_agent.steps.fit import fit
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from client_agent.synthesis.shards import ShardStore
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.limits import MIB
from ff_protocol.manifest import describe_module
from ff_protocol.preparation import parse_frame, parse_window
from ff_protocol.statements import Publication
from tests.homes import UNAUDITED, make_authority

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = {"brainmri28.npz": 1, "mednist12k_28.npz": 1, "bloodcells28.npz": 3}


def shared(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: real images are shared beside the repository")
    return path


def two_classes(path: Path, count: int = 60) -> tuple[tuple[str, str], np.ndarray, np.ndarray]:
    """The first images of the first two classes, in the order of the file."""
    with np.load(path) as file:
        images, labels = file["train_images"], file["train_labels"].reshape(-1)
        names = tuple(str(name) for name in file["class_names"][:2])
    chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label in (0, 1)])
    return names, images[chosen].reshape(len(chosen), 28, 28, -1), labels[chosen]


@pytest.fixture(scope="module", params=SETS)
def done(request, tmp_path_factory):
    """A site that holds two classes of a real data set and has trained and admitted both."""
    source = shared(request.param)
    folder = tmp_path_factory.mktemp(source.stem)
    names, images, labels = two_classes(source)
    data = folder / "two-classes.npz"
    np.savez(data, train_images=images, train_labels=labels[:, None], class_names=np.array(names))
    authority = make_authority(
        classes=list(names),
        image={"size": 28, "channels": SETS[request.param]},
        preparation={"window": "lung", "frame": "first"},
        synthesis={"samples_per_class": 16, "batch_size": 16, "threads": 1},
    )
    site = authority.join(folder / "home", "hospital-1")
    site.home.policy_file.write_text(UNAUDITED)
    trained = train(site, TrainOptions(data=data, steps=4, threads=1, audit=False))
    return site, names, trained


def test_modules_of_real_images_are_small_and_pass_admission(done):
    site, names, trained = done
    assert {module.class_name for module in trained.modules} == set(names)
    assert trained.skipped == ()
    for name, folder in own_modules(site.home).items():
        digest, entries = describe_module(folder)
        publication = Publication(
            federation_id=site.trust.federation_id,
            site_id=site.site_id,
            class_name=name,
            module=digest,
            files=entries,
            published_at=timestamp(utc_now()),
        )
        card = check_module(folder, publication, site)
        assert card.image == site.spec.image
        assert sum(entry.size for entry in entries.values()) <= 8 * MIB


def test_their_synthetic_images_and_the_classifier_have_the_true_shape(done):
    site, names, _ = done
    digests = []
    for folder in own_modules(site.home).values():
        digest, _ = describe_module(folder)
        place(folder, site.home.admitted(digest), copy=True)
        digests.append(digest)
    fitted = fit(site)
    assert fitted.classes == names
    assert fitted.samples == 32
    # How images were prepared travels inside the classifier, for whoever predicts with it.
    classifier = ClassifierFile.open(site.home.classifier)
    assert read_recipe(classifier.preprocessing) == Recipe(
        28, site.spec.image.channels, parse_window("lung"), parse_frame("first")
    )
    store = ShardStore(site.home.shards, site.spec, site.trust.federation_id)
    for digest in digests:
        images = np.concatenate(store.read(digest, 16))
        assert images.dtype == np.uint8
        assert images.shape == (16, 28, 28, site.spec.image.channels)
        assert images.std() > 5
        # Two samples come from two noises.
        assert not np.array_equal(images[0], images[1])


@pytest.mark.parametrize("name", SETS)
def test_the_denoising_loss_falls_on_real_images(name):
    _, images, labels = two_classes(shared(name))
    trained = train_generator(
        np.ascontiguousarray(images[labels == 0]),
        preset=preset_for("tiny", 28, SETS[name]),
        seed=0,
        budget=Budget(steps=40),
        threads=1,
    )
    assert trained.steps == 40
    # The loss is 1 before training, whatever the images, and the figure here is its running mean.
    assert trained.loss < 0.95
