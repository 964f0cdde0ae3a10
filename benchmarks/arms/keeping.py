"""Work that outlives its run: what it gave and what it took, in a record beside its files.

Arms that need the same modules share them, and an interrupted run goes on; the seconds of each arm
stay those that it would have taken alone.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ff_protocol import canonical
from ff_protocol.files import write_atomically

_RECORD = "record.json"


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Attributes:
        seconds, cpu_seconds: what it took, whenever that was.
        earlier_seconds, earlier_cpu_seconds: the part of it that was done by an earlier run or arm.
        values: what it left, as JSON values.
    """

    seconds: float
    cpu_seconds: float
    earlier_seconds: float
    earlier_cpu_seconds: float
    values: dict[str, Any] = field(default_factory=dict)


def keep(folder: Path, make: Callable[[], dict[str, Any]]) -> Work:
    """Do work that fills `folder`, or read the record of its having been done.

    Args:
        folder: where its files lie; the record is written last.
        make: does the work and returns what to remember. Where it goes on from a checkpoint it
            names `training_seconds`, those before the interruption among them.
    """
    path = folder / _RECORD
    if path.is_file():
        record = json.loads(path.read_text())
        seconds, cpu_seconds = record["seconds"], record["cpu_seconds"]
        return Work(seconds, cpu_seconds, seconds, cpu_seconds, record["values"])
    started, cpu = time.monotonic(), time.process_time()
    values = make()
    now, cpu_now = time.monotonic() - started, time.process_time() - cpu
    earlier = max(0.0, values.get("training_seconds", 0.0) - now)
    # Processor seconds before an interruption are not known; they are taken to be like those after.
    cpu_earlier = earlier * cpu_now / max(now, 1e-6) if earlier else 0.0
    record = {"seconds": now + earlier, "cpu_seconds": cpu_now + cpu_earlier, "values": values}
    write_atomically(path, canonical.dumps(record))
    return Work(record["seconds"], record["cpu_seconds"], earlier, cpu_earlier, values)


def total(works: Sequence[Work]) -> Work:
    """Return the sum of what pieces of work took."""
    return Work(
        sum(work.seconds for work in works),
        sum(work.cpu_seconds for work in works),
        sum(work.earlier_seconds for work in works),
        sum(work.earlier_cpu_seconds for work in works),
    )
