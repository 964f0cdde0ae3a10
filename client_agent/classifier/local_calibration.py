"""A site's own correction of the classifier's certainty: fitted on its real images, kept beside it.

`classifier.onnx` is the same file at every site and knows synthetic images only. Real ones lie
further out. A site that has real images, of its own class if it has no others, measures how far;
one that has images of every class also learns how sure the classifier may be. Nothing of it leaves
the site.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import DataError
from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded, write_atomically

MIN_IMAGES = 20
FALSE_FLAGS = 0.05
"""Share of the site's own images that may be flagged as unfamiliar."""

_MAX_BYTES = 1 << 20
_LEAST = 1e-12


@dataclass(frozen=True)
class LocalCalibration:
    """What one site measured for one classifier.

    Attributes:
        classifier: its SHA-256; another classifier makes this void.
        images: number of real images.
        classes: their classes.
        temperature: the classifier's log-probabilities are divided by it; 1 where it could not
            be fitted.
        flag_below: images whose `in_distribution` is lower are flagged.
    """

    classifier: str
    images: int
    classes: tuple[str, ...]
    temperature: float
    flag_below: float


def fit_local(
    probabilities: NDArray[np.float32], in_distribution: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[float, float]:
    """Fit temperature and limit on a site's real images.

    The temperature is fitted only where every class of the classifier is there: images of some
    classes say how hard those are, not how sure to be in general (measured: docs/benchmarks.md).
    The limit lets `FALSE_FLAGS` of the images be flagged, and is never stricter than the
    classifier's own.

    Args:
        probabilities: float32 [n, k].
        in_distribution: float32 [n].
        labels: int [n], columns of `probabilities`.

    Returns:
        `temperature` and `flag_below`.

    Raises:
        DataError: there are too few images.
    """
    from client_agent.classifier.temperature import fit_temperature

    if len(labels) < MIN_IMAGES:
        raise DataError(
            f"{len(labels)} images are too few to calibrate on, {MIN_IMAGES} are needed"
        )
    complete = len(np.unique(labels)) == probabilities.shape[1]
    temperature = fit_temperature(_logarithms(probabilities), labels) if complete else 1.0
    lowest = float(np.quantile(in_distribution, FALSE_FLAGS, method="lower"))
    return temperature, min(1.0, lowest)


def retemper(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return softmax(log(p) / temperature), float32 [n, k]; the order of the classes stays."""
    if temperature == 1.0:
        return probabilities
    scaled = _logarithms(probabilities) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def store_local(home: Home, local: LocalCalibration) -> None:
    """Keep it beside the classifier, with which it is deleted."""
    write_atomically(home.local_calibration, canonical.dumps(asdict(local)))


def read_local(home: Home, classifier: str) -> LocalCalibration | None:
    """Return what was measured for this classifier, None if nothing was."""
    if not home.local_calibration.is_file():
        return None
    data = read_bounded(home.local_calibration, _MAX_BYTES, "calibration")
    value = canonical.loads(data, max_bytes=_MAX_BYTES, what="calibration")
    try:
        local = LocalCalibration(**{**value, "classes": tuple(value["classes"])})
    except (KeyError, TypeError) as error:
        raise MalformedError(
            f"{home.local_calibration.name} is damaged", hint="run: ff-agent calibrate --data PATH"
        ) from error
    return local if local.classifier == classifier else None


def _logarithms(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
