"""The shard store: `shards/<module digest>/<number>.npy`, uint8 [SHARD_BATCHES x batch, H, W, C].

A shard is written once, whole, and never changed: asking for more samples adds shards. Shards that
were made under another spec or reproducibility class are discarded, never mixed.
"""

import hashlib
import io
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client_agent.errors import ResourceError
from client_agent.synthesis.session import ModuleSession, quantise, reproducibility_class
from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.spec import FederationSpec

SHARD_BATCHES = 4
_ORIGIN = "origin.json"


@dataclass(frozen=True, eq=False)
class ShardWork:
    """All that some shards of one module depend on.

    Attributes:
        module_digest: determines the noise.
        model: `module.onnx`, or its content.
        numbers: of the shards.
        spec: determines noise, shape and batch.
        federation_id: determines the noise.
        reproducibility: class of the machine that the shards are for.
    """

    module_digest: str
    model: Path | bytes
    numbers: tuple[int, ...]
    spec: FederationSpec
    federation_id: str
    reproducibility: dict[str, Any]

    @property
    def batch_size(self) -> int:
        """Samples a batch."""
        return self.spec.synthesis.batch_size

    @property
    def batches(self) -> int:
        """How many batches the shards are made of."""
        return len(self.numbers) * SHARD_BATCHES


class ShardStore:
    """The shards of one site."""

    def __init__(self, root: Path, spec: FederationSpec, federation_id: str) -> None:
        self._root = root
        self._spec = spec
        self._federation_id = federation_id
        self.shard_samples = SHARD_BATCHES * spec.synthesis.batch_size

    def ensure(
        self,
        module_digest: str,
        model: Path,
        count: int,
        on_samples: Callable[[int], None] = lambda added: None,
    ) -> int:
        """Make the shards that hold samples 0 to `count - 1` and are not there yet.

        Args:
            module_digest: the module's identity.
            model: its `module.onnx`.
            count: how many samples are needed.
            on_samples: called with the number of samples added after each batch.

        Returns:
            How many samples were made now (0 if all were there).

        Raises:
            RefusedError: the module fails. StorageError: the disk refused.
        """
        missing = self.missing(module_digest, count)
        if missing:
            work = self.work(module_digest, model, missing)
            for number, shard in make_shards(work, lambda: on_samples(work.batch_size)):
                self.write(module_digest, number, shard)
        return len(missing) * self.shard_samples

    def missing(self, module_digest: str, count: int) -> tuple[int, ...]:
        """Return the shards that hold samples 0 to `count - 1` and are not there yet.

        Those that were made under other conditions are deleted.
        """
        self._discard_foreign(module_digest)
        numbers = range(-(-count // self.shard_samples))
        return tuple(number for number in numbers if not self.path(module_digest, number).is_file())

    def work(
        self, module_digest: str, model: Path | bytes, numbers: tuple[int, ...]
    ) -> "ShardWork":
        """Describe how some shards are made, wherever that is."""
        return ShardWork(
            module_digest, model, numbers, self._spec, self._federation_id, reproducibility_class()
        )

    def write(self, module_digest: str, number: int, shard: bytes) -> None:
        """Put a shard into its place; it must have been made from `work`.

        Raises:
            StorageError: the disk refused.
        """
        origin = self.path(module_digest, 0).with_name(_ORIGIN)
        if not origin.is_file():
            write_atomically(origin, canonical.dumps(self._origin()))
        write_atomically(self.path(module_digest, number), shard)

    def read(self, module_digest: str, count: int) -> list[np.ndarray]:
        """Return samples 0 to `count - 1` as arrays uint8 [<= shard_samples, H, W, C], in order.

        Raises:
            FileNotFoundError: `ensure` has not been called for as many.
            MalformedError: a shard file is damaged.
        """
        parts = []
        for number in range(-(-count // self.shard_samples)):
            wanted = min(self.shard_samples, count - number * self.shard_samples)
            parts.append(self._load(self.path(module_digest, number))[:wanted])
        return parts

    def has(self, module_digest: str, count: int) -> bool:
        """Say whether samples 0 to `count - 1` are there and were made under today's conditions."""
        numbers = range(-(-count // self.shard_samples))
        return self._matches(module_digest) and all(
            self.path(module_digest, number).is_file() for number in numbers
        )

    def path(self, module_digest: str, number: int) -> Path:
        """Where shard `number` of a module lies."""
        return self._root / module_digest / f"{number:05d}.npy"

    def _load(self, path: Path) -> np.ndarray:
        image = self._spec.image
        shape = (self.shard_samples, image.size, image.size, image.channels)
        try:
            shard = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise _damaged(path) from error
        if shard.shape != shape or shard.dtype != np.uint8:
            raise _damaged(path)
        return shard

    def _origin(self) -> dict[str, Any]:
        return {
            "synthesis": self._spec.synthesis_digest(self._federation_id),
            "reproducibility": reproducibility_class(),
        }

    def _matches(self, module_digest: str) -> bool:
        path = self._root / module_digest / _ORIGIN
        return path.is_file() and read_bounded(path, 65536, "shard origin") == canonical.dumps(
            self._origin()
        )

    def _discard_foreign(self, module_digest: str) -> None:
        folder = self._root / module_digest
        if folder.is_dir() and not self._matches(module_digest):
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise storage_error(error, folder) from error


def make_shards(work: ShardWork, on_batch: Callable[[], None]) -> Iterator[tuple[int, bytes]]:
    """Make shards; yield number and content of each.

    Args:
        work: which, from a module that lies in a file.
        on_batch: called after each batch.

    Raises:
        RefusedError: the module fails.
        ResourceError: this machine computes other bits than the one that the shards are for.
    """
    assert isinstance(work.model, Path)
    here = reproducibility_class()
    if here != work.reproducibility:
        differing = [name for name in here if here[name] != work.reproducibility[name]]
        raise ResourceError(
            f"{platform.node()} would make other samples: its {', '.join(differing)} differ",
            hint="use nodes of one kind of processor with the same versions installed",
        )
    with ModuleSession(work.model, work.module_digest, work.spec, work.federation_id) as session:
        for number in work.numbers:
            batches = []
            indices = range(number * SHARD_BATCHES, (number + 1) * SHARD_BATCHES)
            for images in session.run_batches(indices):
                batches.append(quantise(images))
                on_batch()
            yield number, _to_npy(np.concatenate(batches))


def content_digest(samples: np.ndarray) -> str:
    """SHA-256 of the pixels of one shard's part that is in use."""
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


def _to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _damaged(path: Path) -> MalformedError:
    return MalformedError(
        f"shard {path.parent.name[:12]}/{path.name} is damaged",
        hint="delete that file and run: ff-agent synthesise",
    )
