"""From admitted modules to a class-balanced data set and the Merkle root that names it.

The plan is a pure function of the modules and the spec: `samples_per_class` images a class,
divided over the class's modules in the order of their digests. Two sites with the same modules
have the same plan, the same images and the same root.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from client_agent.engines.engine import Engine, Yielded
from client_agent.engines.local import LocalEngine
from client_agent.errors import reworded
from client_agent.registry.modules import AdmittedModule
from client_agent.synthesis.jobs import SampleCount, shard_jobs
from client_agent.synthesis.shards import ShardStore, content_digest
from ff_protocol import canonical
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.spec import FederationSpec
from ff_protocol.unlearning import PortionRoot


@dataclass(frozen=True)
class Portion:
    """`count` samples of one module, the data set's smallest unit."""

    module: AdmittedModule
    count: int


@dataclass(frozen=True)
class Dataset:
    """A synthetic training set.

    Attributes:
        images: uint8 [n, H, W, C].
        labels: int64 [n], index into `classes`.
        classes: the classes that have a module, in the spec's order.
        root: Merkle root over its shards, SHA-256 in hexadecimal.
        portions: each module's part with its own Merkle root, in order.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    root: str
    portions: tuple[PortionRoot, ...]


def plan_dataset(modules: Sequence[AdmittedModule], spec: FederationSpec) -> tuple[Portion, ...]:
    """Divide each class's samples over its modules: the first ones take what does not divide.

    Modules that do not fit the spec any more (another image shape, a class that has left) have no
    part in it.
    """
    portions = []
    for name in spec.classes:
        of_class = sorted(
            (
                module
                for module in modules
                if module.card.class_name == name and module.card.image == spec.image
            ),
            key=lambda module: module.digest,
        )
        for position, module in enumerate(of_class):
            share, rest = divmod(spec.synthesis.samples_per_class, len(of_class))
            count = share + (position < rest)
            if count:
                portions.append(Portion(module, count))
    return tuple(portions)


def count_missing(plan: Sequence[Portion], store: ShardStore) -> int:
    """Count the shards of a plan that are not there yet."""
    return sum(len(store.missing(item.module.digest, item.count)) for item in plan)


def synthesise(
    plan: Sequence[Portion],
    store: ShardStore,
    on_samples: Callable[[Portion, int], None] = lambda portion, added: None,
    engine: Engine | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> int:
    """Make every sample of the plan that is not there yet; return how many were made.

    A module that fails does not keep the others from being sampled.

    Args:
        plan: what there shall be.
        store: where.
        on_samples: called, from any thread, when samples have been added.
        engine: who makes them; None: this process, one module after the other.
        note: gets remarks, from any thread.

    Raises:
        RefusedError: a module fails; the first in the plan's order.
        StorageError: the disk refused. As `Engine.run`.
    """
    engine = engine or LocalEngine()
    jobs = shard_jobs(plan, store, engine)
    watcher = SampleCount(jobs, store.shard_samples, on_samples, note)
    failures: dict[str, FederatedFactoryError] = {}
    made = 0
    with closing(engine.run([item.job for item in jobs.values()], watcher)) as events:
        for event in events:
            if isinstance(event, Yielded):
                number, shard = event.value
                store.write(jobs[event.job.name].portion.module.digest, number, shard)
                made += store.shard_samples
            elif event.error is not None:
                failures[event.job.name] = event.error
    for name in (name for name in jobs if name in failures):
        error = failures[name]
        raise reworded(error, f"{name}: {error.message}")
    return made


def load_dataset(plan: Sequence[Portion], store: ShardStore, spec: FederationSpec) -> Dataset:
    """Read the plan's samples and compute the root.

    Raises:
        FileNotFoundError: the plan has not been synthesised.
    """
    classes = tuple(
        name
        for name in spec.classes
        if any(portion.module.card.class_name == name for portion in plan)
    )
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    leaves: list[bytes] = []
    roots: list[PortionRoot] = []
    for portion in plan:
        name, begin = portion.module.card.class_name, len(leaves)
        for number, part in enumerate(store.read(portion.module.digest, portion.count)):
            images.append(part)
            labels.append(np.full(len(part), classes.index(name), dtype=np.int64))
            leaves.append(
                canonical.dumps(
                    {
                        "class": name,
                        "module": portion.module.digest,
                        "pixels": content_digest(part),
                        "samples": len(part),
                        "shard": number,
                    }
                )
            )
        root = merkle_root(leaves[begin:])
        roots.append(PortionRoot(portion.module.digest, name, portion.count, root))
    return Dataset(
        images=np.concatenate(images),
        labels=np.concatenate(labels),
        classes=classes,
        root=merkle_root(leaves),
        portions=tuple(roots),
    )


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Merkle tree hash of RFC 6962 section 2.1 over `leaves`, in hexadecimal."""
    return _tree_hash(leaves).hex()


def _tree_hash(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    left, right = _tree_hash(leaves[:split]), _tree_hash(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()
