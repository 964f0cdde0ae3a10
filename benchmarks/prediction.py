"""How far a classifier's probabilities and its "not trained on this" flag hold on real images.

For each set of real images a federation of one class a hospital is trained briefly; its classifier
has seen synthetic images only. Then: accuracy and expected calibration error (ECE) on the test
images, by temperature; the share of test images that are flagged although they are of the kind
(false flags); and the share flagged of other sets, of noise and of the test images inverted. Test
images choose nothing: limits come from synthetic images, or from the validation split where the
row says `here`.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import SHARED_DATA
from benchmarks.hospitals import share_modules
from benchmarks.images import REAL_SETS
from client_agent.classifier.calibration import held_out
from client_agent.classifier.curves import calibration
from client_agent.classifier.local_calibration import fit_local, retemper
from client_agent.classifier.prediction import ClassifierFile
from client_agent.classifier.temperature import fit_temperature
from client_agent.preparation.prepare import prepare
from client_agent.site import Site
from client_agent.steps.fit import fit
from client_agent.steps.synthesise import make_dataset
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from tests.homes import make_authority

BRIEF = {"brainmri28": (250, 600), "bloodcells28": (250, 600), "mednist12k_28": (120, 400)}
"""Training steps a module and samples a class."""

OTHERS = (*REAL_SETS, "busi28")
_MOST = 600


@dataclass(frozen=True)
class Images:
    """One split: uint8 [n, H, W, C] and int64 [n]."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Row:
    """One set; shares and ECE are in [0, 1].

    `ece_1` is without a temperature, `ece` with the file's, `ece_held_out` with one fitted on
    unmixed held-out images, `ece_here` with one fitted on validation images of every class.
    `false_flags` is by the file's limit, `false_flags_own` and `false_flags_here` by limits from
    validation images of the first class, and of all. `flagged` and `flagged_here` are by the
    file's limit and by that of all validation images.
    """

    dataset: str
    steps: int
    samples_per_class: int
    test_images: int
    accuracy: float
    temperature: float
    ece_1: float
    ece: float
    ece_held_out: float
    ece_here: float
    false_flags: float
    false_flags_own: float
    false_flags_here: float
    flagged: dict[str, float]
    flagged_here: dict[str, float]
    images_per_second: float


def measure(*, quick: bool) -> list[Row]:
    """Measure every set that is there; digits, in seconds, if quick."""
    if quick:
        return [_measure_set(None, 8, 60, epochs=6)]
    present = [name for name in REAL_SETS if (SHARED_DATA / f"{name}.npz").is_file()]
    return [_measure_set(SHARED_DATA / f"{name}.npz", *BRIEF[name]) for name in present]


def _measure_set(path: Path | None, steps: int, samples: int, epochs: int | None = None) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        splits = read_digits() if path is None else read_splits(path)
        site = federation(splits["train"], steps, samples, Path(folder), epochs)
        name = "digits" if path is None else path.stem
        return measure_site(site, name, splits, brief=(steps, samples))


def federation(
    training: Images, steps: int, samples: int, folder: Path, epochs: int | None = None
) -> Site:
    """Train a module a class, share them, fit at the first site; return that."""
    classes = [f"class-{label}" for label in range(int(training.labels.max()) + 1)]
    _, size, _, channels = training.pixels.shape
    authority = make_authority(
        classes=classes,
        image={"size": size, "channels": channels},
        synthesis={"samples_per_class": samples, "batch_size": 32, "threads": 1},
        classifier={"threads": 1, "epochs": epochs},
    )
    data = folder / "training.npz"
    np.savez(data, train_images=training.pixels, train_labels=training.labels[:, None])
    sites = [authority.join(folder / name, f"site-{name}") for name in classes]
    for site, name in zip(sites, classes, strict=True):
        train(site, TrainOptions(data=data, classes=(name,), steps=steps, threads=1))
    share_modules(sites, sites[0])
    fit(sites[0])
    return sites[0]


def measure_site(
    site: Site, name: str, splits: dict[str, Images], *, brief: tuple[int, int]
) -> Row:
    """Measure a site's classifier on the splits of its set and on all that is not of it."""
    classifier = ClassifierFile.open(site.home.classifier)
    test, validation = splits["test"], splits["val"]
    started = time.perf_counter()
    probabilities, nearness = classifier.run(test.pixels)
    rate = len(test.pixels) / (time.perf_counter() - started)
    seen, near = classifier.run(validation.pixels)
    temperature, limit = fit_local(seen, near, validation.labels)
    first = validation.labels == 0
    _, own_limit = fit_local(seen[first], near[first], validation.labels[first])

    _, dataset = make_dataset(site)
    held = held_out(dataset.labels)
    synthetic = np.log(np.maximum(classifier.predict(dataset.images[held]), 1e-12).astype(float))
    plain = fit_temperature(synthetic, dataset.labels[held])

    foreign = _foreign(name, test.pixels)
    apart = {key: classifier.run(pixels)[1] for key, pixels in foreign.items()}
    used = float(classifier.calibration["temperature"])
    return Row(
        dataset=name,
        steps=brief[0],
        samples_per_class=brief[1],
        test_images=len(test.labels),
        accuracy=float(np.mean(probabilities.argmax(1) == test.labels)),
        temperature=used,
        ece_1=_error(retemper(probabilities, 1 / used), test.labels),
        ece=_error(probabilities, test.labels),
        ece_held_out=_error(retemper(probabilities, plain), test.labels),
        ece_here=_error(retemper(probabilities, temperature), test.labels),
        false_flags=float(np.mean(nearness < 1)),
        false_flags_own=float(np.mean(nearness < own_limit)),
        false_flags_here=float(np.mean(nearness < limit)),
        flagged={key: float(np.mean(values < 1)) for key, values in apart.items()},
        flagged_here={key: float(np.mean(values < limit)) for key, values in apart.items()},
        images_per_second=rate,
    )


def read_splits(path: Path) -> dict[str, Images]:
    """Read the three splits of a MedMNIST-style file."""
    stored = np.load(path)
    return {
        split: Images(
            _four(stored[f"{split}_images"]), stored[f"{split}_labels"].ravel().astype(np.int64)
        )
        for split in ("train", "val", "test")
    }


def read_digits(classes: int = 3) -> dict[str, Images]:
    """Divide scikit-learn's first digits into three splits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    wanted = bunch.target < classes
    pixels = np.rint(bunch.images[wanted] * (255 / 16)).astype(np.uint8)[..., None]
    whole = Images(pixels, bunch.target[wanted].astype(np.int64))
    part = np.arange(len(pixels)) % 5
    chosen = {"train": part < 3, "val": part == 3, "test": part == 4}
    return {
        name: Images(whole.pixels[choice], whole.labels[choice]) for name, choice in chosen.items()
    }


def _foreign(name: str, test: np.ndarray) -> dict[str, np.ndarray]:
    """Images that are not of the set, in its shape: uint8 [n, H, W, C] by name."""
    _, size, _, channels = test.shape
    random = np.random.default_rng(0)
    found = {}
    for other in OTHERS:
        path = SHARED_DATA / f"{other}.npz"
        if other != name and path.is_file():
            pixels = _four(np.load(path)["test_images"])[:_MOST]
            found[other] = np.stack(
                [prepare(image, image_size=size, channels=channels) for image in pixels]
            )
    found["noise"] = random.integers(0, 256, (_MOST // 2, *test.shape[1:]), dtype=np.uint8)
    found["inverted"] = 255 - test[:_MOST]
    return found


def _error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    right = probabilities.argmax(1) == labels
    return calibration(probabilities.max(1).astype(np.float64), right, 15).error


def _four(images: Any) -> np.ndarray:
    return images if images.ndim == 4 else images[..., None]
