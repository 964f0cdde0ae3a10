"""Appraising a module at this site: its samples against those of the modules in use here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client_agent.comparison.compare import Known, compare
from client_agent.comparison.findings import Comparison
from client_agent.comparison.samples import sample_features
from client_agent.errors import RefusedError
from client_agent.registry.modules import own_modules, read_card, usable_modules
from client_agent.site import Site
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.manifest import MODULE_FILE, describe_module

PER_CLASS, IN_ALL = 3, 48
"""How many known modules are compared with: this site's own first, then by digest."""

_COMPARISON = "comparison.json"


def appraise(site: Site, digest: str, class_name: str, model: Path, count: int) -> Comparison:
    """Compare a module's first samples with those of the modules in use here; keep the figures.

    Args:
        site: whose knowledge.
        digest: the module's identity.
        class_name: what it claims.
        model: its `module.onnx`, which has broken no rule.
        count: how many samples of each module.

    Raises:
        RefusedError: the module fails, or its images are not finite, out of range or all alike.
        StorageError: the disk refused.
    """
    points = sample_features(site, digest, model, count)
    known = [
        Known(name, other, found)
        for other, name, path in _chosen(site, digest)
        if (found := _features_if_any(site, other, path, count)) is not None
    ]
    comparison = compare(class_name, points, known)
    path = site.home.appraisal(digest) / _COMPARISON
    write_atomically(path, canonical.dumps(comparison.to_dict()))
    return comparison


def read_comparison(site: Site, digest: str) -> dict[str, Any] | None:
    """Return the figures kept of a module as JSON values, None if there are none."""
    path = site.home.appraisal(digest) / _COMPARISON
    if not path.is_file():
        return None
    data = read_bounded(path, MAX_ENVELOPE_BYTES, "comparison")
    value: dict[str, Any] = canonical.loads(data, max_bytes=MAX_ENVELOPE_BYTES, what=path.name)
    return value


def _features_if_any(site: Site, digest: str, model: Path, count: int) -> Any:
    try:
        return sample_features(site, digest, model, count)
    except RefusedError:  # it runs no more: synthesis will say so
        return None


def _chosen(site: Site, without: str) -> Iterator[tuple[str, str, Path]]:
    """Yield digest, class and model of modules to compare with."""
    taken: dict[str, int] = {}
    for digest, name, path in _known(site):
        if digest == without or taken.get(name, 0) >= PER_CLASS:
            continue
        taken[name] = taken.get(name, 0) + 1
        if sum(taken.values()) <= IN_ALL:
            yield digest, name, path


def _known(site: Site) -> Iterator[tuple[str, str, Path]]:
    own = set()
    for folder in own_modules(site.home).values():
        digest, _ = describe_module(folder)
        own.add(digest)
        card = read_card(folder)
        if card.image == site.spec.image:
            yield digest, card.class_name, folder / MODULE_FILE
    for module in usable_modules(site.home, site.spec):
        if module.digest not in own:
            yield module.digest, module.card.class_name, module.model
