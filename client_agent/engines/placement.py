"""How many jobs at a time, and what each gets: pure rules of processors, GPUs and wishes.

The number of threads decides the bits of a training. It therefore depends on the machine and on
what was asked for, never on how many classes there are to train: a rerun that finds half of them
done trains the rest to the same bytes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

THREADS_THAT_HELP = 8
"""A batch is cut into parts of at least eight images, a thread each (generator/gradients.py)."""
SHARDS_WORTH_A_PROCESS = 8


@dataclass(frozen=True)
class Slot:
    """What one worker gets.

    Attributes:
        threads: compute threads; None: as many as its libraries choose.
        gpu: the one GPU that it sees, as CUDA_VISIBLE_DEVICES names it; None leaves that alone.
    """

    threads: int | None = None
    gpu: str | None = None


@dataclass(frozen=True)
class Node:
    """What a machine of a cluster offers."""

    processors: float
    gpus: float


def training_slots(
    processors: int, gpus: Sequence[str], workers: int | None, threads: int | None
) -> tuple[Slot, ...]:
    """Divide a machine between classes that are trained at once.

    One class a GPU; without one, a class for every eight processors. One worker alone gets the
    whole machine, as if there were no workers.

    Args:
        processors: that may be used.
        gpus: that can be seen.
        workers: classes at once, if the user says so.
        threads: a class, if the user says so.
    """
    if gpus:
        count = min(workers or len(gpus), len(gpus))
    else:
        count = workers or max(1, processors // THREADS_THAT_HELP)
    if count == 1:
        return (Slot(threads),)
    share = threads or max(1, processors // count)
    return tuple(Slot(share, gpus[number] if gpus else None) for number in range(count))


def synthesis_slots(
    processors: int, lanes: int, workers: int | None, shards: int
) -> tuple[Slot, ...]:
    """Divide a machine between modules that are sampled at once.

    Args:
        processors: that may be used.
        lanes: threads of one module's process, from the federation's spec.
        workers: modules at once, if the user says so.
        shards: how many are to be made; a process must be worth its start.
    """
    affordable = min(processors // max(2, lanes), -(-shards // SHARDS_WORTH_A_PROCESS))
    return (Slot(),) * (workers or max(1, affordable))


def cluster_slots(
    nodes: Sequence[Node], threads: int, device: str, workers: int | None
) -> tuple[int, bool]:
    """Return how many jobs of so many threads a cluster carries at once, and if each has a GPU.

    Where `auto` finds GPUs only they are used: a class on a processor would be the last to end.
    """
    on_gpu = device == "cuda" or (device == "auto" and any(node.gpus >= 1 for node in nodes))
    fitting = sum(
        min(int(node.processors // threads), int(node.gpus) if on_gpu else 1 << 30)
        for node in nodes
    )
    return min(fitting, workers or fitting), on_gpu


def usable_processors() -> int:
    """Count the processors that this process may use; OMP_NUM_THREADS bounds them."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        count = os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, min(count, int(said) if said.isdecimal() and int(said) else count))


def visible_gpus(device: str) -> tuple[str, ...]:
    """Name the GPUs that may be used for `auto`, `cuda` or `cpu`."""
    if device == "cpu":
        return ()
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return gpu_names(count, os.environ.get("CUDA_VISIBLE_DEVICES"))


def gpu_names(count: int, variable: str | None) -> tuple[str, ...]:
    """Name `count` GPUs as CUDA_VISIBLE_DEVICES does, whose value here may be `variable`."""
    named = [part.strip() for part in variable.split(",")] if variable else []
    return tuple(named[:count]) if len(named) >= count else tuple(map(str, range(count)))
