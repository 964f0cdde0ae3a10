"""What a classifier may say about its own certainty: fitted on images that it was not trained on.

Two things come out, both from the held-out tenth of the synthetic set, so that no test image is
needed and every site with the same modules gets the same numbers:

- a *temperature* by which scores are divided before the softmax (arXiv 1706.04599). Held-out
  synthetic images are easier than real ones, since the same generators made them: a temperature
  fitted on them alone makes the classifier over-confident. It is fitted on them and on mixtures of
  them (arXiv 1710.09412) in which another image shines through (measured: docs/benchmarks.md);
- a *limit* on how far an image may be from the training set: the Mahalanobis distance of its
  features to the nearest class, with one covariance for all classes (arXiv 1807.03888). An image
  beyond the limit is of a kind that the classifier was not trained on.

Both go into `classifier.onnx`. Everything is computed in float64 with a fixed number of threads:
the same classifier and images give the same bits on the same kind of CPU.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_agent.classifier.network import ClassifierNetwork
from client_agent.classifier.temperature import fit_temperature
from client_agent.classifier.training import FittedClassifier, reproducible

HELD_OUT_EVERY = 10
"""Of each class every tenth image is held out."""

FAMILIAR_SHARE = 0.99
"""Share of the held-out images within the limit."""

SHRINKAGE = 0.02
"""Share of the mean variance that is added to each: unused features have none of their own."""

MIXTURES = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Shares of the image whose label counts; the rest is another held-out image."""

_BATCH = 256
_SEED = 0


@dataclass(frozen=True, eq=False)
class Calibration:
    """How scores become probabilities, and when an image counts as unfamiliar.

    Attributes:
        temperature: scores are divided by it before the softmax.
        means: float32 [k, d], the features' mean of each class.
        whitening: float32 [d, d]; differences times this have unit covariance.
        limit: distance that `FAMILIAR_SHARE` of the held-out images stay within.
        images: number of held-out images.
    """

    temperature: float
    means: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float
    images: int


def held_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Choose the images to calibrate on: of each class every tenth in order, at least one.

    A class of a single image keeps it for training.

    Args:
        labels: int64 [n].

    Returns:
        bool [n].
    """
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            chosen[members[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]] = True
            chosen[members[-1]] |= len(members) < HELD_OUT_EVERY
    return chosen


def calibrate(
    fitted: FittedClassifier,
    training: tuple[NDArray[np.uint8], NDArray[np.int64]],
    held: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> Calibration:
    """Fit temperature and limit.

    Args:
        fitted: the classifier.
        training: the images that it was trained on, uint8 [n, H, W, C], and int64 [n]; they give
            the means and the covariance.
        held: others of the same source; they give temperature and limit. If there are none, the
            training images stand in for them.
    """
    if not len(held[1]):
        held = training
    with reproducible(fitted.settings.threads):
        features, _ = _outputs(fitted.network, training[0])
        means, whitening = _gaussians(features, torch.from_numpy(training[1]))
        features, _ = _outputs(fitted.network, held[0])
        _, scores = _outputs(fitted.network, mixed(held[0]))
        distances = mahalanobis(features, means, whitening).numpy()
    return Calibration(
        temperature=fit_temperature(scores.numpy(), np.tile(held[1], len(MIXTURES))),
        means=means.float().numpy(),
        whitening=whitening.float().numpy(),
        limit=float(np.float32(np.quantile(distances, FAMILIAR_SHARE, method="higher"))),
        images=len(held[1]),
    )


def mixed(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the images once for each share in `MIXTURES`, the rest being another of them.

    Args:
        images: uint8 [n, H, W, C].

    Returns:
        uint8 [len(MIXTURES) * n, H, W, C].
    """
    random = np.random.Generator(np.random.Philox(_SEED))
    parts = []
    for share in MIXTURES:
        others = images[random.permutation(len(images))]
        parts.append(np.rint(share * images + (1 - share) * others).astype(np.uint8))
    return np.concatenate(parts)


def mahalanobis(features: Tensor, means: Tensor, whitening: Tensor) -> Tensor:
    """Return each image's distance to the nearest class, [n].

    Args:
        features: [n, d].
        means: [k, d].
        whitening: [d, d].
    """
    points, centres = features @ whitening, means @ whitening
    squares = (points.unsqueeze(1) - centres.unsqueeze(0)).square().sum(2)
    return squares.min(1).values.sqrt()


def _outputs(network: ClassifierNetwork, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return features [n, d] and scores [n, k] in float64."""
    network.eval()
    features, scores = [], []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            part = network.features(torch.from_numpy(images[start : start + _BATCH]))
            features.append(part.double())
            scores.append(network.scores(part).double())
    return torch.cat(features), torch.cat(scores)


def _gaussians(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return class means [k, d] and the whitening [d, d] of the covariance that they share."""
    means = torch.stack([features[labels == label].mean(0) for label in labels.unique()])
    centred = features - means[labels]
    covariance = centred.T @ centred / len(features)
    variance = covariance.diagonal().mean().clamp_min(1e-12)
    covariance += SHRINKAGE * variance * torch.eye(len(covariance), dtype=covariance.dtype)
    # covariance = L L^T; differences d then have the squared distance |d L^-T|^2.
    factor = torch.linalg.cholesky(covariance)
    identity = torch.eye(len(covariance), dtype=covariance.dtype)
    return means, torch.linalg.solve_triangular(factor, identity, upper=False).T.contiguous()
