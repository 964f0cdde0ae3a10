"""Who holds what in the comparison: nothing lost, nothing twice, repeatable by its seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from benchmarks.recovery.data import load_data
from benchmarks.recovery.scanners import make_scanners, render_mixed, render_site
from benchmarks.recovery.splits import SPLITS, divide
from client_agent.errors import DataError, UsageError

any_labels = st.lists(st.integers(0, 9), min_size=4, max_size=120).filter(
    lambda values: len(set(values)) > 1
)


@settings(max_examples=60, deadline=None)
@given(values=any_labels, split=st.sampled_from(SPLITS), seed=st.integers(0, 99))
def test_every_training_image_is_at_exactly_one_site(values, split, seed):
    labels = np.array(values)
    sites = divide(labels, split, seed=seed)
    assert np.array_equal(np.sort(np.concatenate(sites)), np.arange(len(labels)))
    assert all(len(members) for members in sites)
    again = divide(labels, split, seed=seed)
    assert all(np.array_equal(a, b) for a, b in zip(sites, again, strict=True))


def classes_of(labels, sites):
    return [set(labels[members].tolist()) for members in sites]


@settings(max_examples=30, deadline=None)
@given(values=any_labels, seed=st.integers(0, 99))
def test_silos_hold_one_class_and_two_hold_two(values, seed):
    labels = np.array(values)
    held = set(values)
    silos = classes_of(labels, divide(labels, "silos", seed=seed))
    assert [len(own) for own in silos] == [1] * len(held)
    pairs = classes_of(labels, divide(labels, "two", seed=seed))
    assert sorted(len(own) for own in pairs) == [1] * (len(held) % 2) + [2] * (len(held) // 2)
    assert set.union(*pairs) == held


@pytest.mark.parametrize(("classes", "sites"), [(2, None), (3, None), (8, None), (2, 5), (8, 3)])
def test_scanners_put_every_class_at_several_sites(classes, sites):
    labels = np.arange(60 * classes) % classes
    held = classes_of(labels, divide(labels, "scanners", seed=0, sites=sites))
    assert len(held) == (sites or min(4, classes))
    assert all(sum(label in own for own in held) >= 2 for label in range(classes))


def test_dirichlet_is_uneven_and_follows_the_seed():
    labels = np.arange(4000) % 8
    counts = [np.bincount(labels[own], minlength=8) for own in divide(labels, "dirichlet", seed=1)]
    largest = np.max(counts, axis=0) / 500
    assert np.mean(largest) > 0.5  # alpha 0.1: mostly one site has most of a class
    other = divide(labels, "dirichlet", seed=2)
    assert [len(own) for own in other] != [int(count.sum()) for count in counts]


def test_splits_and_numbers_of_sites_that_make_no_sense_are_refused():
    labels = np.arange(20) % 2
    with pytest.raises(UsageError, match="unknown"):
        divide(labels, "thirds", seed=0)
    with pytest.raises(UsageError, match="follows from the classes"):
        divide(labels, "silos", seed=0, sites=3)
    with pytest.raises(UsageError, match="at least two"):
        divide(labels, "dirichlet", seed=0, sites=1)


def test_scanners_differ_between_sites_and_repeat_themselves():
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    scanners = make_scanners(3, seed=5)
    assert make_scanners(3, seed=5) == scanners
    rendered = [render_site(images, scanners[site], site, seed=5) for site in range(3)]
    assert np.array_equal(rendered[0], render_site(images, scanners[0], 0, seed=5))
    spreads = [float(site.std()) for site in rendered]
    assert len(set(np.round(spreads, 1))) == 3
    mixed = render_mixed(images, scanners, 1, seed=5)
    assert mixed.shape == images.shape
    assert mixed.dtype == np.uint8
    assert np.array_equal(mixed, render_mixed(images, scanners, 1, seed=5))


def write(path, **splits):
    arrays = {}
    for name, (images, labels) in splits.items():
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = images, np.array(labels)[:, None]
    np.savez(path, **arrays)
    return str(path)


def test_a_missing_validation_split_is_taken_from_training_once_and_for_all(tmp_path):
    images = np.arange(61, dtype=np.uint8)[:, None, None] * np.ones((8, 8), np.uint8)
    labels = [0] * 40 + [1] * 20 + [2]
    path = write(tmp_path / "x.npz", train=(images, labels), test=(images, labels))
    data = load_data(path)
    assert data.carved == ("validation",)
    assert np.bincount(data.validation.labels, minlength=3).tolist() == [4, 2, 0]
    assert np.bincount(data.train.labels, minlength=3).tolist() == [36, 18, 1]
    seen = np.concatenate([data.train.images[:, 0, 0, 0], data.validation.images[:, 0, 0, 0]])
    assert sorted(seen.tolist()) == list(range(61))
    assert load_data(path).describe() == data.describe()


def test_other_sizes_depths_and_many_unequal_classes_are_accepted(tmp_path):
    random = np.random.default_rng(0)
    labels = np.concatenate([np.arange(100), np.zeros(300, np.int64)])
    wide = random.integers(0, 4096, (400, 20, 26), dtype=np.uint16)
    path = write(tmp_path / "w.npz", train=(wide, labels), val=(wide, labels), test=(wide, labels))
    data = load_data(path)
    assert (data.image_size, data.channels, len(data.classes)) == (26, 1, 100)
    assert load_data(path, image_size=12).train.images.shape == (400, 12, 12, 1)
    colour = random.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    only_train = load_data(write(tmp_path / "c.npz", train=(colour, np.arange(40) % 2)))
    assert only_train.carved == ("test", "validation")
    assert [len(getattr(only_train, part).labels) for part in ("train", "validation", "test")] == [
        28, 4, 8,
    ]  # fmt: skip


def test_a_file_of_one_class_or_none_at_all_is_refused(tmp_path):
    images = np.zeros((5, 8, 8), np.uint8)
    with pytest.raises(DataError, match="one class"):
        load_data(write(tmp_path / "x.npz", train=(images, [3] * 5), test=(images, [3] * 5)))
    with pytest.raises(DataError, match="no file"):
        load_data(str(tmp_path / "absent.npz"))
    with pytest.raises(UsageError, match="8 to 256"):
        load_data("digits", image_size=4)
