"""From what a user says to an engine."""

import os

from client_agent.engines.engine import Engine, EngineOptions
from client_agent.engines.local import LocalEngine
from client_agent.engines.placement import (
    synthesis_slots,
    training_slots,
    usable_processors,
    visible_gpus,
)


def training_engine(options: EngineOptions, threads: int | None, device: str) -> Engine:
    """Return the engine that trains classes.

    Args:
        options: where.
        threads: of a class, if the user says so.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        UsageError: the engine is not installed, or its address is none.
        NetworkError: nothing answers at the address.
    """
    gpus = visible_gpus(device)
    slots = training_slots(usable_processors(), gpus, options.workers, threads)
    if options.engine == "local":
        return LocalEngine(slots)
    import torch

    from client_agent.engines.ray import RayEngine

    # What a class gets here it gets there: as many threads give the same bytes.
    share = slots[0].threads or torch.get_num_threads()
    return RayEngine(_address(options), share, device, options.workers, len(slots), len(gpus))


def synthesis_engine(options: EngineOptions, lanes: int, shards: int) -> Engine:
    """Return the engine that samples modules.

    Args:
        options: where.
        lanes: threads of a module's process, from the spec.
        shards: how many are to be made.

    Raises:
        UsageError, NetworkError: as `training_engine`.
    """
    slots = synthesis_slots(usable_processors(), lanes, options.workers, shards)
    if options.engine == "local":
        return LocalEngine(slots)
    from client_agent.engines.ray import RayEngine

    return RayEngine(_address(options), lanes, "cpu", options.workers, len(slots), 0)


def _address(options: EngineOptions) -> str | None:
    return options.ray_address or os.environ.get("RAY_ADDRESS") or None
