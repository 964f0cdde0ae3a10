"""Sampling a module: its noise, its batches, and a first look at what comes out.

Bit-equality is promised within one reproducibility class: same onnxruntime and NumPy versions,
same optimisation level, same instruction set. Each batch is computed by one thread: the layers of
a small module are too short to share, and how many batches run side by side changes no bit.
"""

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from client_agent.module.output import check_output
from client_agent.sandbox.limits import Limits, limits_for
from client_agent.sandbox.process import ModelProcess
from client_agent.synthesis.noise import noise, noise_key
from ff_protocol.spec import FederationSpec


class ModuleSession:
    """One module, loaded for inference on the CPU in a confined process (client_agent/sandbox).

    `close` it, or use it as a context manager: the process then ends at once. It ends in any case
    with the last reference to this, or with the agent.

    Attributes:
        shape: (C, H, W) of noise and image.
        batch_size: the fixed inference batch.
    """

    def __init__(
        self,
        model: Path,
        module_digest: str,
        spec: FederationSpec,
        federation_id: str,
        limits: Limits | None = None,
    ) -> None:
        """Load `model`.

        Args:
            model: a file; the process gets its bytes.
            module_digest: determines the noise.
            spec: determines noise, shape and batch.
            federation_id: determines the noise.
            limits: what the process may use; by default what the spec's work calls for.

        Raises:
            RefusedError: onnxruntime cannot load it within the limits.
            ResourceError: no process can be started.
        """
        self.shape = (spec.image.channels, spec.image.size, spec.image.size)
        self.batch_size = spec.synthesis.batch_size
        self._key = noise_key(module_digest, spec.synthesis_digest(federation_id), federation_id)
        limits = limits or limits_for(spec, model.stat().st_size)
        self._process = ModelProcess((self.batch_size, *self.shape), limits, spec.synthesis.threads)
        try:
            self._process.load(model)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ModuleSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.close()

    def run_batch(self, index: int) -> np.ndarray:
        """Return the raw images of batch `index`: float32 [batch_size, C, H, W].

        Raises:
            RefusedError: the module fails, returns another shape or type, or breaks a limit.
        """
        start = index * self.batch_size
        return self._process.run(noise(self._key, start, self.batch_size, self.shape))

    def run_batches(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield `run_batch(index)` for each index in order, several computed side by side.

        Raises:
            RefusedError: as `run_batch`.
        """
        yield from self._process.side_by_side(self.run_batch, indices)


def quantise(images: np.ndarray) -> np.ndarray:
    """Turn float32 [n, C, H, W] in [0, 1] into uint8 [n, H, W, C]."""
    levels = np.rint(np.clip(images, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def probe_module(model: Path, digest: str, spec: FederationSpec, federation_id: str) -> None:
    """Run a module once and look at what comes out.

    Raises:
        RefusedError: not finite, out of range, constant, or all images alike.
    """
    with ModuleSession(model, digest, spec, federation_id) as session:
        images = session.run_batch(0)
        if len(images) == 1:
            images = np.concatenate([images, session.run_batch(1)])
    check_output(images)


def reproducibility_class() -> dict[str, Any]:
    """Describe what synthesis bits depend on besides the spec: versions and instruction set."""
    return {
        "machine": platform.machine(),
        "instruction_set": _instruction_set(),
        "onnxruntime": version("onnxruntime"),
        "numpy": np.__version__,
        "optimisation": "all",
    }


def _instruction_set() -> list[str]:
    """The vector extensions that numerical libraries choose their kernels by."""
    wanted = ("avx2", "fma", "avx512f", "avx512vnni", "avx512_vnni", "avx512_bf16", "amx_tile",
              "asimd", "sve", "bf16")  # fmt: skip
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return [platform.processor() or "unknown"]
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            return [name for name in wanted if name in flags]
    return ["unknown"]
