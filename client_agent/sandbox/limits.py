"""What a module may use: bounds that grow with the work that the federation asks of it.

CPU time is counted, not wall time, so that a loaded machine refuses no honest module. A module
that waits instead of computing is caught by wall time without progress.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ff_protocol.limits import KIB, MIB

if TYPE_CHECKING:
    from ff_protocol.spec import FederationSpec

_BASE_LOAD_SECONDS = 3.0
_LOAD_BYTES_PER_SECOND = 10e6
_BASE_BATCH_SECONDS = 4.0
_SECONDS_PER_VALUE_AND_MB = 20e-6
_BASE_MEMORY = 256 * MIB
_MEMORY_PER_MODEL_BYTE = 8
_MEMORY_PER_VALUE = 2 * KIB


@dataclass(frozen=True)
class Limits:
    """Bounds on one worker.

    Attributes:
        load_seconds: CPU time to load the model.
        batch_seconds: CPU time for one batch.
        stall_seconds: wall time without an answer.
        memory_bytes: memory beyond what the runtime itself takes.
        total_seconds: CPU time of the worker's whole life, which the kernel enforces.
    """

    load_seconds: float
    batch_seconds: float
    stall_seconds: float
    memory_bytes: int
    total_seconds: int = 24 * 3600


def limits_for(spec: "FederationSpec", model_bytes: int) -> Limits:
    """Return the bounds for a model of `model_bytes` sampled as `spec` says.

    The time of a batch goes with its values times the weights. Measured for the presets of this
    software (docs/sandbox.md): a batch takes less than a fifteenth of its time and a half of its
    memory.
    """
    image = spec.image
    values = spec.synthesis.batch_size * image.channels * image.size * image.size
    batch = _BASE_BATCH_SECONDS + _SECONDS_PER_VALUE_AND_MB * values * model_bytes / 1e6
    load = _BASE_LOAD_SECONDS + model_bytes / _LOAD_BYTES_PER_SECOND
    return Limits(
        load_seconds=load,
        batch_seconds=batch,
        stall_seconds=60 + 10 * max(load, batch),
        memory_bytes=(
            _BASE_MEMORY + _MEMORY_PER_MODEL_BYTE * model_bytes + _MEMORY_PER_VALUE * values
        ),
    )
