"""Shared fixtures: a trained federation of three sites, made once and copied for each test."""

import os

# Before numerical libraries start their thread pools: two workers share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from client_agent.home import Home
from client_agent.site import Site, open_site
from tests import traces
from tests.homes import UNAUDITED, Authority, make_authority

CLASSES = ("zero", "one", "two")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of traces before workers start, which inherit its name."""
    if not hasattr(config, "workerinput"):
        os.environ[traces.FOLDER] = tempfile.mkdtemp(prefix="ff-traces-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(traces.FOLDER), ignore_errors=True)


def pytest_collection_finish() -> None:
    """Share traces if any of the tests exports modules."""
    if "client_agent.module.export" in sys.modules:
        traces.share_traces()


def digits_npz(path: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """scikit-learn's digits as a MedMNIST-style file, the first classes only."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    wanted = bunch.target < len(classes)
    images, labels = images[wanted], bunch.target[wanted][:, None]
    np.savez(
        path,
        train_images=images[60:],
        train_labels=labels[60:],
        test_images=images[:60],
        test_labels=labels[:60],
        class_names=np.array(classes),
    )
    return path


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of digits."""
    return digits_npz(tmp_path_factory.mktemp("digits") / "digits.npz")


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One federation of three classes."""
    return make_authority(classes=list(CLASSES))


@pytest.fixture(scope="session")
def trained_homes(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, digits: Path
) -> dict[str, Path]:
    """Homes of hospital-1, -2 and -3, each with one really trained (briefly) module."""
    from client_agent.steps.train import train
    from client_agent.steps.train_options import TrainOptions

    homes = {}
    for number, name in enumerate(CLASSES, start=1):
        site_id = f"hospital-{number}"
        folder = tmp_path_factory.mktemp(site_id)
        site = authority.join(folder, site_id)
        site.home.policy_file.write_text(UNAUDITED)
        train(site, TrainOptions(data=digits, classes=(name,), steps=5, threads=1, audit=False))
        homes[site_id] = folder
    return homes


@pytest.fixture
def sites(trained_homes: dict[str, Path], tmp_path: Path) -> dict[str, Site]:
    """Fresh copies of the trained homes, opened."""
    opened = {}
    for site_id, folder in trained_homes.items():
        shutil.copytree(folder, tmp_path / site_id)
        opened[site_id] = open_site(Home(tmp_path / site_id))
    return opened


@pytest.fixture(scope="session")
def fitted_home(trained_homes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of hospital-1 that holds the modules of two of three classes and has fitted.

    Not to be changed: copy it.
    """
    from client_agent.steps.fit import fit
    from tests.unit.test_unlearning import EVERYONE, share

    folder = tmp_path_factory.mktemp("fitted")
    sites = {}
    for name, home in trained_homes.items():
        shutil.copytree(home, folder / name)
        sites[name] = open_site(Home(folder / name))
    share(sites, sites["hospital-1"], EVERYONE[:2])
    fit(sites["hospital-1"])
    return folder / "hospital-1"


@pytest.fixture
def fitted_copy(fitted_home: Path, tmp_path: Path) -> Path:
    """A copy of that home, to be changed at will."""
    shutil.copytree(fitted_home, tmp_path / "home")
    return tmp_path / "home"
