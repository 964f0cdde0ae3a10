"""The comparison arms: FedAvg's arithmetic, its bytes, and what each arm can and cannot know."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("sklearn")
safetensors = pytest.importorskip("safetensors.torch")

from client_agent.classifier.network import build_network  # noqa: E402
from client_agent.classifier.settings import ClassifierSettings  # noqa: E402
from client_agent.demo.averaging import weighted_mean  # noqa: E402
from client_agent.demo.baselines import centralised, fedavg, own_classes  # noqa: E402
from client_agent.errors import DataError  # noqa: E402

CLASSES = ("c0", "c1", "c2", "c3")
QUICK = ClassifierSettings(epochs=10, batch_size=16, threads=1, widths=(8, 8, 16, 16))


def patches(count: int, seed: int):
    """Four classes: which quarter of the image is bright."""
    labels = np.arange(count) % 4
    images = np.random.default_rng(seed).integers(0, 80, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 170
    return images.astype(np.uint8), labels.astype(np.int64)


TEST = patches(80, seed=2)


def split(*held: tuple[int, ...]):
    images, labels = patches(160, seed=1)
    return [(images[np.isin(labels, own)], labels[np.isin(labels, own)]) for own in held]


def test_a_site_alone_cannot_know_what_it_never_saw():
    found = own_classes(split((0, 1), (2,), (3,)), TEST, classes=CLASSES, settings=QUICK)
    shares = [site.accuracy for site in found.per_site]
    assert shares[1:] == [0.25, 0.25]
    assert 0.4 <= shares[0] <= 0.5
    assert found.evaluation.accuracy == pytest.approx(np.mean(shares))
    assert found.per_site[1].unknown == ("c0", "c1", "c3")
    assert (found.bytes_per_site, found.rounds) == (0, 0)


def test_centralised_knows_all():
    seen = []
    found = centralised(
        split((0, 1), (2, 3)), TEST, classes=CLASSES, settings=QUICK, on_progress=seen.append
    )
    assert found.evaluation.accuracy > 0.9
    assert seen[-1] == 1.0


def test_fedavg_counts_the_bytes_that_travel():
    seen = []
    arguments = {"classes": CLASSES, "settings": QUICK, "rounds": 3, "local_epochs": 1}
    found = fedavg(split((0, 1), (2, 3)), TEST, **arguments, on_progress=seen.append)
    state = build_network(QUICK, 8, 1, 4).state_dict()
    one = len(safetensors.save({name: t.contiguous() for name, t in state.items()}))
    assert found.bytes_per_site == 3 * 2 * one
    assert (found.rounds, found.local_epochs) == (3, 1)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    again = fedavg(split((0, 1), (2, 3)), TEST, **arguments)
    assert again.evaluation == found.evaluation


def test_fedavg_learns_where_sites_hold_the_same_classes():
    images, labels = patches(160, seed=1)
    sites = [(images[:64], labels[:64]), (images[64:], labels[64:])]
    found = fedavg(sites, TEST, classes=CLASSES, settings=QUICK, rounds=5, local_epochs=2)
    assert found.evaluation.accuracy > 0.9


def test_the_mean_is_weighted_by_images():
    states = [
        {"w": torch.tensor([0.0, 1.0]), "n": torch.tensor(10)},
        {"w": torch.tensor([4.0, 5.0]), "n": torch.tensor(13)},
    ]
    mean = weighted_mean(states, [3, 1])
    assert torch.equal(mean["w"], torch.tensor([1.0, 2.0]))
    assert mean["n"].dtype == torch.int64
    assert mean["n"].item() == 11


def test_misfits_are_refused():
    with pytest.raises(DataError, match="no site"):
        fedavg([], TEST, classes=CLASSES, settings=QUICK)
    with pytest.raises(DataError, match="labels run"):
        own_classes(split((0, 3)), TEST, classes=CLASSES[:2], settings=QUICK)
