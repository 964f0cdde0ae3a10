"""What one trial is about: a class of real images, split anew by the trial's seed."""

from dataclasses import dataclass

import numpy as np

from benchmarks.environment import SHARED_DATA
from client_agent.audit.distances import TolerantMetric, shrink

# Classes of each set; the files' own training split.
CLASSES = (
    ("bloodcells28", 1), ("brainmri28", 0), ("mednist12k_28", 0), ("busi28", 1),
    ("bloodcells28", 6), ("brainmri28", 3), ("mednist12k_28", 3), ("busi28", 0),
    ("mednist12k_28", 4), ("mednist12k_28", 5),
)  # fmt: skip
SIZES = (64, 128, 256)
# Hold-out: a fifth of what a site has, as `train` takes of a class of up to 500 images, and never
# fewer than can be audited with.
HELD_OUT_SHARE = 5
FEWEST_HELD_OUT = 8


@dataclass(frozen=True, eq=False)
class Case:
    """Images of one trial, uint8 [n, H, W, C], no image in two of them.

    Attributes:
        dataset, class_index: where they are from.
        training, held_out, unseen: the two sides of the audit, and real images that nobody saw.
    """

    dataset: str
    class_index: int
    training: np.ndarray
    held_out: np.ndarray
    unseen: np.ndarray


def make_case(
    trial: int, *, images: int | None = None, halved: bool = False, digits: bool = False
) -> Case:
    """Choose and split a class.

    Args:
        trial: its number and seed.
        images: training images; None takes 64, 128 or 256 in turn, or fewer in a small class.
        digits: scikit-learn's digits at 8 px, as without the shared data.
        halved: average 2 x 2 pixels, so that networks train in seconds.
    """
    dataset, class_index = CLASSES[trial % len(CLASSES)]
    path = SHARED_DATA / f"{dataset}.npz"
    if path.is_file() and not digits:
        with np.load(path) as stored:
            pixels, labels = stored["train_images"], stored["train_labels"].ravel()
    else:
        from sklearn.datasets import load_digits

        found = load_digits()
        dataset, class_index, halved = "digits", trial % 10, False
        pixels, labels = (found.images * 15.9).astype(np.uint8), found.target
    pixels = pixels[labels == class_index]
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    pixels = pixels[np.random.default_rng([trial, 10]).permutation(len(pixels))]
    if halved:
        n, height, width, channels = pixels.shape
        blocks = pixels.reshape(n, height // 2, 2, width // 2, 2, channels)
        pixels = blocks.mean((2, 4)).round().astype(np.uint8)
    # Half of the class at most, so that as many real images as a sample needs are left.
    n = images or SIZES[trial % len(SIZES)]
    while images is None and n > SIZES[0] and n > len(pixels) // 2:
        n //= 2
    m = max(FEWEST_HELD_OUT, n // (HELD_OUT_SHARE - 1))
    single = _without_copies(pixels[: 2 * (n + m)])
    pixels = np.concatenate([single, pixels[2 * (n + m) :]])
    return Case(dataset, class_index, pixels[:n], pixels[n : n + m], pixels[n + m :])


def _without_copies(images: np.ndarray) -> np.ndarray:
    """Leave out what is nearly an earlier image: some sets hold one picture several times."""
    metric = TolerantMetric()
    embedded = metric.embed(shrink(images))
    close = (metric.between(embedded, embedded) <= 1.0).numpy()
    return images[~np.tril(close, -1).any(1)]
