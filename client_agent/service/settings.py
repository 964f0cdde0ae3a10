"""What `ff-agent serve` was told."""

from dataclasses import dataclass, field
from pathlib import Path

from client_agent.service.agenda import Plan
from client_agent.service.schedule import Schedule


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        plan: what is due when.
        schedule: what heavy work waits for.
        nice: the priority that heavy work sinks to.
        gpu_memory: the largest share of the GPU's memory that it takes; None: no limit.
        metrics_file: where to write metrics; None: nowhere.
        config: the configuration file that `train` reads; None: the home's.
    """

    plan: Plan = field(default_factory=Plan)
    schedule: Schedule = field(default_factory=Schedule)
    nice: int = 10
    gpu_memory: float | None = None
    metrics_file: Path | None = None
    config: Path | None = None
