"""A module's first samples and their features, made once and kept in `appraisals/<digest>/`.

Samples of modules are compared with samples of modules, this site's own among them, never with real
images: what every generator does to an image would otherwise count as a difference, and a record
of real images would lie where copies of the home go.
"""

import io
from pathlib import Path

import numpy as np

from client_agent.comparison.features import RENDERINGS, Floats, features
from client_agent.module.output import check_output
from client_agent.site import Site
from client_agent.synthesis.session import ModuleSession, quantise
from ff_protocol.files import write_atomically

_SAMPLES, _FEATURES = "samples.npy", "features.npy"


def first_samples(site: Site, digest: str, model: Path, count: int) -> np.ndarray:
    """Return samples 0 to `count - 1`, uint8 [count, H, W, C], kept for the next time.

    Raises:
        RefusedError: the module fails, or its images are not finite, out of range or all alike.
        StorageError: the disk refused.
    """
    path = site.home.appraisal(digest) / _SAMPLES
    kept = _load(path, np.uint8)
    if kept is not None and len(kept) >= count:
        return kept[:count]
    session = ModuleSession(model, digest, site.spec, site.trust.federation_id)
    raw = np.concatenate(list(session.run_batches(range(-(-count // session.batch_size)))))
    check_output(raw if len(raw) > 1 else np.concatenate([raw, session.run_batch(1)]))
    samples = quantise(raw)[:count]
    write_atomically(path, _npy(samples))
    return samples


def sample_features(site: Site, digest: str, model: Path, count: int) -> Floats:
    """Return the features of samples 0 to `count - 1`, float32 [count, renderings, d].

    Raises:
        RefusedError, StorageError: as `first_samples`.
    """
    path = site.home.appraisal(digest) / _FEATURES
    kept = _load(path, np.float32)
    if kept is not None and kept.ndim == 3 and (len(kept), kept.shape[1]) == (count, RENDERINGS):
        return kept
    found = features(first_samples(site, digest, model, count))
    write_atomically(path, _npy(found))
    return found


def _load(path: Path, kind: type[np.generic]) -> np.ndarray | None:
    """Read a kept array; one that an interruption or another version left is made anew."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if isinstance(found, np.ndarray) and found.dtype == kind else None


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
