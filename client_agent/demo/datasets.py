"""The demonstration's images: scikit-learn's digits, a MedMNIST-style file, or a MedMNIST name."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client_agent.errors import DataError
from ff_protocol.names import slug

DIGITS = "digits"
_TEST_SHARE = 5


@dataclass(frozen=True)
class DemoData:
    """A labelled data set with its test part kept apart.

    Attributes:
        name: what it is called in the results.
        classes: class names in the order of the labels.
        train_images, test_images: uint8 [n, H, W, C].
        train_labels, test_labels: int64 [n].
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train_images.shape[1])

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.train_images.shape[3])


def load_demo_data(dataset: str, download_folder: Path, seed: int) -> DemoData:
    """Load `digits`, a path to an `.npz`, or a MedMNIST name such as `bloodmnist`.

    Args:
        dataset: which.
        download_folder: where a named MedMNIST set is downloaded to.
        seed: decides which fifth of the digits is the test set.

    Raises:
        DataError: no such file or name, or it cannot be used.
    """
    if dataset == DIGITS:
        return _digits(seed)
    path = Path(dataset)
    if path.suffix == ".npz" or path.exists():
        if not path.is_file():
            raise DataError(f"there is no file {path}", hint="give a MedMNIST-style .npz file")
        return _npz(path, path.stem)
    file, names = _download(dataset, download_folder)
    return _npz(file, dataset, names)


def _digits(seed: int) -> DemoData:
    """1,797 handwritten digits scanned at 8 x 8 pixels (UCI, in scikit-learn's own files)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    generator = np.random.Generator(np.random.Philox(seed))
    for label in range(10):  # stratified
        members = generator.permutation(np.flatnonzero(labels == label))
        test[members[: len(members) // _TEST_SHARE]] = True
    return DemoData(
        DIGITS,
        tuple(f"digit-{label}" for label in range(10)),
        images[~test],
        labels[~test],
        images[test],
        labels[test],
    )


def _npz(path: Path, name: str, known: tuple[str, ...] | None = None) -> DemoData:
    from client_agent.sources.npz import read_npz_split

    train_images, train_labels, names = read_npz_split(path, "train")
    test_images, test_labels, _ = read_npz_split(path, "test")
    count = int(max(train_labels.max(), test_labels.max())) + 1
    if train_images.shape[1] != train_images.shape[2] or not 8 <= train_images.shape[1] <= 256:
        raise DataError(f"{path.name}: images must be square, 8 to 256 pixels")
    names = names or known
    if names is None:
        names = tuple(f"class-{index}" for index in range(count))
    return DemoData(slug(name), tuple(names), train_images, train_labels, test_images, test_labels)


def _download(name: str, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Fetch a two-dimensional MedMNIST set; return its file and class names."""
    try:
        # The package greets on standard output where torchvision is missing; it is not needed.
        with contextlib.redirect_stdout(sys.stderr):
            from medmnist.info import INFO
    except ImportError as error:
        raise DataError(
            f"{name!r} is neither a file nor a known data set",
            hint="give an .npz file instead (--dataset FILE.npz), or install the list of MedMNIST "
            "names without its dependencies: pip install --no-deps medmnist",
        ) from error
    flat = {key: value for key, value in INFO.items() if not key.endswith("3d")}
    if name not in flat:
        raise DataError(f"{name!r} is not a MedMNIST name", hint=f"known: {', '.join(flat)}")
    labels = flat[name]["label"]
    names = tuple(slug(labels[str(index)]) for index in range(len(labels)))
    target = folder / f"{name}.npz"
    if not target.exists():
        _fetch(flat[name]["url"], flat[name]["MD5"], target)
    return target, names


def _fetch(url: str, md5: str, target: Path) -> None:
    import hashlib
    import urllib.error
    import urllib.request

    from ff_protocol.files import write_atomically

    if not url.startswith("https://"):
        raise DataError(f"refusing to download from {url[:60]!r}")
    try:
        with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310
            data = response.read(512 * 1024 * 1024)
    except (urllib.error.URLError, OSError) as error:
        raise DataError(
            f"cannot download {target.name}: {error}",
            hint="without a network give a file: --dataset FILE.npz",
        ) from error
    # The publisher names an MD5: it guards against a cut download, not against an attacker.
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{target.name}: the download is damaged; try again")
    write_atomically(target, data)
