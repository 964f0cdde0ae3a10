"""The images that the benchmarks train on: digits always, real medical images where they are."""

from dataclasses import dataclass

import numpy as np

from benchmarks.environment import SHARED_DATA
from client_agent.demo.datasets import load_demo_data

REAL_SETS = ("brainmri28", "mednist12k_28", "bloodcells28")


@dataclass(frozen=True)
class OneClass:
    """The training images of one class: uint8 [n, H, W, C]."""

    name: str
    images: np.ndarray


def one_class_sets() -> list[OneClass]:
    """Digits at 8 px grey; brain MRI at 28 px grey and blood cells at 28 px RGB where present."""
    found = [_first_class("digits")]
    for name in ("brainmri28", "bloodcells28"):
        path = SHARED_DATA / f"{name}.npz"
        if path.is_file():
            found.append(_first_class(str(path)))
    return found


def _first_class(dataset: str) -> OneClass:
    data = load_demo_data(dataset, SHARED_DATA, seed=0)
    images = data.train_images[data.train_labels == 0]
    shape = f"{data.image_size} px {'grey' if data.channels == 1 else 'RGB'}"
    return OneClass(f"{data.name}, {shape}", images)
