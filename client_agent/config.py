"""Defaults for command options from a YAML file: `config.yaml` in the home, or `--config FILE`.

One flat set of keys, each named like the option it stands for; a flag beats the file.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ff_protocol.durations import parse_duration
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_SPEC_BYTES
from ff_protocol.schema import Strict, load_yaml, parse


class AgentConfig(Strict):
    """Keys of `config.yaml`; configs/agent.yaml explains each."""

    data: str | None = None
    labels: str | None = None
    label_tag: str | None = None
    label_map: str | None = None
    window: str | None = None
    frame: str | int | None = None
    allow_burned_in: bool | None = None
    classes: str | None = None
    split: Literal["train", "val", "test"] | None = None
    budget: str | None = None
    steps: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    threads: int | None = Field(default=None, ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"] | None = None
    licence: str | None = Field(default=None, max_length=128)
    terms: str | None = Field(default=None, max_length=2000)
    dp_epsilon: float | None = Field(default=None, ge=0.01, le=1000)
    dp_delta: float | None = Field(default=None, gt=0, lt=1)
    engine: Literal["local", "ray"] | None = None
    workers: int | None = Field(default=None, ge=1, le=1024)
    ray_address: str | None = Field(default=None, max_length=300)
    wait: int | None = Field(default=None, ge=1)
    wait_for: Literal["classes", "sites"] | None = None
    timeout: str | None = None
    every: str | None = None
    settle: str | None = None
    train: bool | None = None
    hours: list[str] | None = Field(default=None, max_length=64)
    time_zone: str | None = None
    nice: int | None = Field(default=None, ge=0, le=19)
    max_load: float | None = Field(default=None, gt=0, le=1000)
    gpu_memory: float | None = Field(default=None, gt=0, le=1)
    metrics_file: str | None = None
    log_file: str | None = None
    log_size: float | None = Field(default=None, ge=0)
    log_keep: int | None = Field(default=None, ge=1, le=1000)

    @field_validator("hours", mode="before")
    @classmethod
    def _hours(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("budget", "timeout", "every", "settle", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> str | None:
        if value is None:
            return None
        try:
            parse_duration(str(value))
        except SpecError as error:
            raise ValueError(error.message) from error
        return str(value)


def read_config(path: Path) -> dict[str, Any]:
    """Read and validate a configuration file; return the keys that it sets.

    Raises:
        SpecError: unreadable, not YAML, or a key or value that does not belong.
    """
    try:
        text = read_bounded(path, MAX_SPEC_BYTES, "configuration").decode("utf-8")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise SpecError(f"cannot read configuration {path}: {error}") from error
    value = load_yaml(text, path.name)
    config = parse(AgentConfig, {} if value is None else value, path.name)
    return config.model_dump(exclude_none=True)
