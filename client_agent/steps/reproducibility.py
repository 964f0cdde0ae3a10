"""The reproducibility class: within one, the same inputs give the same bits.

Measured: onnxruntime's bits change with the instruction set and the optimisation level, torch's
also with the number of threads, the processor's maker (its matrix library chooses kernels by it)
and variables of the environment that cap the instruction set. All of that is recorded and compared.
"""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from client_agent.classifier.settings import RECIPE
from client_agent.synthesis.session import reproducibility_class
from ff_protocol.spec import FederationSpec

_KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
)


def fit_reproducibility(spec: FederationSpec) -> dict[str, Any]:
    """Describe all that a classifier's bits depend on besides modules and spec, as JSON values."""
    return {
        **reproducibility_class(),
        "monai": version("monai"),
        "onnx": version("onnx"),
        "overrides": {key: os.environ[key] for key in _KERNEL_VARIABLES if key in os.environ},
        "processor": _processor(),
        "recipe": RECIPE,
        "threads": {"classifier": spec.classifier.threads, "synthesis": spec.synthesis.threads},
        "torch": version("torch"),
    }


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two classes: key to (theirs, ours), None where one lacks it."""
    return {
        key: (theirs.get(key), ours.get(key))
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    }


def _processor() -> str:
    """The processor's maker as the kernel names it, or `unknown`."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    for line in text.splitlines():
        if line.startswith(("vendor_id", "CPU implementer")):
            return line.partition(":")[2].strip()
    return "unknown"
