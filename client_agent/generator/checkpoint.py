"""Checkpoints of a training run: whole or absent, data only, and never trusted blindly.

A checkpoint holds tensors and plain values and is read with `weights_only=True`, so that reading
one runs no code. It belongs to one run, named by a fingerprint of recipe, seed and images; one
that is damaged or belongs to another run is passed over with a reason instead of ending the run.
"""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from client_agent.generator.presets import Preset
from client_agent.generator.privacy import PrivacyPlan
from ff_protocol.files import write_atomically

FORMAT = "federated-factory/generator-checkpoint/4"
_KEYS = frozenset(
    {
        *("format", "fingerprint", "seed", "step", "seconds", "loss"),
        *("network", "average", "optimisers", "curve", "best"),
    }
)


def run_fingerprint(
    preset: Preset,
    seed: int,
    images: NDArray[np.uint8],
    held_out: NDArray[np.uint8] | None = None,
    most_membership: float | None = None,
    plan: PrivacyPlan | None = None,
) -> str:
    """Return hex SHA-256 over what decides a run.

    Its budget is not among that: it may be extended, unless the plan of a private training has
    spent all that the guarantee allows.
    """
    digest = hashlib.sha256()
    recipe = {
        "format": FORMAT,
        "preset": preset.to_dict(),
        "seed": seed,
        "most_membership": most_membership,
    }
    if plan is not None:
        recipe["plan"] = asdict(plan)
    digest.update(json.dumps(recipe, sort_keys=True).encode())
    for part in (images,) if held_out is None else (images, held_out):
        digest.update(repr(part.shape).encode())
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` atomically, readable by its owner only (it may reveal training images).

    Raises:
        StorageError: the disk is full or not writable; the previous checkpoint is intact.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomically(path, buffer.getvalue(), mode=0o600)


def load_checkpoint(path: Path, fingerprint: str) -> tuple[dict[str, Any] | None, str | None]:
    """Read a checkpoint of the run named `fingerprint`.

    Returns:
        (state, None), or (None, why it is passed over), or (None, None) where there is none.
    """
    if not path.exists():
        return None, None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports damage through a dozen unrelated types
        reason = type(error).__name__
        return None, f"checkpoint {path.name} passed over: damaged or not ours ({reason})"
    if not isinstance(state, dict) or not state.keys() >= _KEYS or state["format"] != FORMAT:
        return None, f"checkpoint {path.name} passed over: not a checkpoint of this version"
    if state["fingerprint"] != fingerprint:
        return None, f"checkpoint {path.name} passed over: other images, preset or seed"
    return state, None
