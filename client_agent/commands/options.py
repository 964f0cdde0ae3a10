"""From command-line values to the steps' option objects."""

from typing import Any

from client_agent.commands.common import needed
from client_agent.engines.engine import EngineOptions
from client_agent.errors import UsageError
from client_agent.module.packing import Terms
from client_agent.sources.options import SourceOptions
from client_agent.steps.train_options import TrainOptions
from client_agent.steps.waiting import WaitFor
from ff_protocol.durations import parse_duration


def make_train_options(values: dict[str, Any]) -> TrainOptions:
    """Build what `train` needs from the options of `data_options` and `train_options`."""
    classes = values["classes"]
    return TrainOptions(
        data=needed(values["data"], "--data"),
        labels=values["labels"],
        source=make_source_options(values),
        classes=tuple(part.strip() for part in classes.split(",")) if classes else None,
        split=values["split"] or "train",
        seconds=parse_duration(values["budget"]).total_seconds() if values["budget"] else None,
        steps=values["steps"],
        seed=values["seed"],
        threads=values["threads"],
        device=values["device"],
        retrain=values["retrain"],
        dp_epsilon=values["dp_epsilon"],
        dp_delta=values["dp_delta"],
        audit=not values["no_audit"],
        terms=_make_terms(values),
    )


def _make_terms(values: dict[str, Any]) -> Terms:
    given = {"licence": values["licence"], "terms_of_use": values["terms"]}
    return Terms(**{name: text for name, text in given.items() if text is not None})


def make_source_options(values: dict[str, Any]) -> SourceOptions:
    """Build what the steps need from the options of `data_options`."""
    return SourceOptions(
        label_map=values["label_map"],
        label_tag=values["label_tag"],
        window=values["window"],
        frame=values["frame"],
        allow_burned_in=values["allow_burned_in"],
    )


def make_engine_options(values: dict[str, Any]) -> EngineOptions:
    """Build what the steps need from the options of `engine_options`.

    Raises:
        UsageError: an address for an engine that has none.
    """
    if values["ray_address"] is not None and values["engine"] != "ray":
        raise UsageError("--ray-address goes with --engine ray")
    return EngineOptions(values["engine"], values["workers"], values["ray_address"])


def make_wait(values: dict[str, Any]) -> WaitFor | None:
    """Build what `receive` waits for, None if it shall not wait."""
    timeout = timeout_of(values)
    if values["wait"] is None:
        return None
    return WaitFor(values["wait"], values["wait_for"], timeout)


def timeout_of(values: dict[str, Any]) -> float | None:
    """Return the time limit in seconds, None if there is none."""
    return parse_duration(values["timeout"]).total_seconds() if values["timeout"] else None
