"""Attacks that look for training images in what a federation makes: the measure is AUROC.

An attacker holds candidate images and wants to know which of them were trained on. Some (members)
were in the revoked site's set, the others (strangers) are of the same class and were in nobody's.
0.5 is chance.
"""

import math
from dataclasses import dataclass

import numpy as np

from client_agent.classifier.prediction import ClassifierFile

_CHUNK = 64
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Attack:
    """How well an attack tells members from others.

    Attributes:
        auroc: chance that a random member scores above a random stranger.
        chance_interval: an attack that knows nothing stays within 0.5 plus or minus this in 95 of
            100 cases (normal approximation of the Mann-Whitney statistic).
    """

    auroc: float
    chance_interval: float


def attack_samples(members: np.ndarray, strangers: np.ndarray, samples: np.ndarray) -> Attack:
    """Score a candidate by its closeness to the nearest synthetic image of its class.

    The distance is divided by that to the nearest other candidates, so that an unusual image does
    not pass for a stranger.

    Args:
        members, strangers: uint8 [n, H, W, C].
        samples: the data set's images of that class, uint8 [m, H, W, C].
    """
    candidates = np.concatenate([members, strangers])
    among = np.sort(_distances(candidates, candidates), axis=1)
    usual = among[:, 1 : 1 + _NEIGHBOURS].mean(1)  # the first is the image itself
    scores = -_distances(candidates, samples).min(1) / usual
    return _attack(scores[: len(members)], scores[len(members) :])


def attack_classifier(
    classifier: ClassifierFile, class_name: str, members: np.ndarray, strangers: np.ndarray
) -> Attack:
    """Score a candidate by the classifier's probability of its true class."""
    column = classifier.classes.index(class_name)
    return _attack(classifier.predict(members)[:, column], classifier.predict(strangers)[:, column])


def nearest_classes(images: np.ndarray, samples: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the label of each image's nearest synthetic image, int64 [n]."""
    return labels[_distances(images, samples).argmin(1)]


def _attack(members: np.ndarray, strangers: np.ndarray) -> Attack:
    higher = (members[:, None] > strangers[None, :]).mean()
    equal = (members[:, None] == strangers[None, :]).mean()
    m, n = len(members), len(strangers)
    spread = math.sqrt((m + n + 1) / (12 * m * n))
    return Attack(float(higher + equal / 2), 1.96 * spread)


def _distances(images: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Euclidean distances of pixels, float32 [n, m]."""
    flat = samples.reshape(len(samples), -1).astype(np.float32)
    squares = (flat**2).sum(1)
    parts = []
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].reshape(-1, flat.shape[1]).astype(np.float32)
        gaps = (part**2).sum(1)[:, None] - 2 * part @ flat.T + squares
        parts.append(np.sqrt(np.maximum(gaps, 0)))
    return np.concatenate(parts)
