"""Running a module in onnxruntime with every option that influences the result fixed.

Bit-equality is promised within one reproducibility class: same onnxruntime and NumPy versions,
same optimisation level, same instruction set. Each batch is computed by one thread: the layers of
a small module are too short to share, and how many batches run side by side changes no bit.
"""

import platform
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from client_agent.errors import RefusedError
from client_agent.module.output import check_output
from client_agent.synthesis.noise import noise, noise_key
from ff_protocol.manifest import MODULE_FILE
from ff_protocol.spec import FederationSpec


class ModuleSession:
    """One module, loaded for inference on the CPU.

    Attributes:
        shape: (C, H, W) of noise and image.
        batch_size: the fixed inference batch.
    """

    def __init__(
        self, model: Path, module_digest: str, spec: FederationSpec, federation_id: str
    ) -> None:
        """Load `model`.

        Raises:
            RefusedError: onnxruntime cannot load it.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(
                model.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise RefusedError(f"{MODULE_FILE}: onnxruntime cannot load it") from error
        self.shape = (spec.image.channels, spec.image.size, spec.image.size)
        self.batch_size = spec.synthesis.batch_size
        self._threads = spec.synthesis.threads
        self._key = noise_key(module_digest, spec.synthesis_digest(federation_id), federation_id)

    def run_batch(self, index: int) -> np.ndarray:
        """Return the raw images of batch `index`: float32 [batch_size, C, H, W].

        Raises:
            RefusedError: the module fails or returns another shape or type.
        """
        start = index * self.batch_size
        batch = noise(self._key, start, self.batch_size, self.shape)
        try:
            (images,) = self._session.run(["image"], {"noise": batch})
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise RefusedError(f"{MODULE_FILE}: fails when run") from error
        if images.shape != batch.shape or images.dtype != np.float32:
            raise RefusedError(f"{MODULE_FILE}: returned {images.dtype} {list(images.shape)}")
        return images

    def run_batches(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield `run_batch(index)` for each index in order, several computed side by side.

        Raises:
            RefusedError: as `run_batch`.
        """
        pool = ThreadPoolExecutor(self._threads, "synthesis")
        try:
            yield from pool.map(self.run_batch, indices)
        finally:
            pool.shutdown(cancel_futures=True)


def quantise(images: np.ndarray) -> np.ndarray:
    """Turn float32 [n, C, H, W] in [0, 1] into uint8 [n, H, W, C]."""
    levels = np.rint(np.clip(images, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def probe_module(model: Path, digest: str, spec: FederationSpec, federation_id: str) -> None:
    """Run a module once and look at what comes out.

    Raises:
        RefusedError: not finite, out of range, constant, or all images alike.
    """
    session = ModuleSession(model, digest, spec, federation_id)
    images = session.run_batch(0)
    if len(images) == 1:
        images = np.concatenate([images, session.run_batch(1)])
    check_output(images)


def reproducibility_class() -> dict[str, Any]:
    """Describe what synthesis bits depend on besides the spec: versions and instruction set."""
    import onnxruntime as ort

    return {
        "machine": platform.machine(),
        "instruction_set": _instruction_set(),
        "onnxruntime": ort.__version__,
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
