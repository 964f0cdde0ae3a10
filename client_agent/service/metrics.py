"""The state of a site as a Prometheus text file, for node_exporter's textfile collector.

Moments rather than ages, so that a file that is no longer written does not look young. Labels come
from closed sets: states, certificates, error identifiers.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ff_protocol import PROTOCOL_VERSION, __version__
from ff_protocol.clock import parse_timestamp
from ff_protocol.files import write_atomically


def write_metrics(path: Path, status: Mapping[str, Any], now: dt.datetime) -> None:
    """Write the file anew: a reader sees the old one or the new one, whatever the umask is.

    Args:
        path: ends in `.prom`, in the folder that node_exporter reads.
        status: from `steps.status.status`.
        now: the present time.

    Raises:
        StorageError: it cannot be written.
    """
    # Not prometheus_client's write_to_textfile: its file's mode depends on the umask, and a service
    # with UMask=0077 would write one that node_exporter cannot read.
    registry = CollectorRegistry()
    registry.register(_State(tuple(metrics_of(status, now))))
    write_atomically(path, generate_latest(registry), mode=0o644)


class _State(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def metrics_of(status: Mapping[str, Any], now: dt.datetime) -> Iterator[Metric]:
    """Turn a site's state into metrics; docs/service.md lists them."""
    build = {"version": __version__, "protocol": str(PROTOCOL_VERSION)}
    yield _labelled("build_info", "Always 1.", tuple(build), {tuple(build.values()): 1})
    yield _gauge("written_timestamp_seconds", "When this file was written.", now.timestamp())
    yield _labelled(
        "certificate_expiry_timestamp_seconds",
        "When a certificate of this site ends.",
        ("certificate",),
        {(name,): _seconds(item["until"]) for name, item in status["identity"].items()},
    )
    yield _labelled(
        "modules",
        "Modules of all sites, by state.",
        ("state",),
        {(name,): len(status[name]) for name in ("admitted", "waiting", "refused", "revoked")},
    )
    unsent = sum(not item["sent"] for item in status["outbox"].values())
    yield _gauge("modules_unsent", "Own modules in the outbox that were never sent.", unsent)
    yield _gauge("classes", "Classes of the federation.", len(status["classes"]))
    missing = len(status["missing_classes"])
    yield _gauge("classes_missing", "Classes without a module here.", missing)
    classifier = status["classifier"]
    yield _gauge("classifier", "1 if there is a classifier.", classifier is not None)
    fresh = classifier is not None and classifier["up_to_date"]
    yield _gauge("classifier_up_to_date", "1 if it was made from the modules in use.", fresh)
    pending = len(status["unlearning_pending"] or ())
    yield _gauge(
        "unlearning_pending", "Modules forgotten whose unlearning is not certified yet.", pending
    )
    yield _gauge("warnings", "Warnings that `ff-agent status` shows.", len(status["warnings"]))
    yield from _heads(status)
    yield from _service(status["service"])


def _heads(status: Mapping[str, Any]) -> Iterator[Metric]:
    """How long the signed heads hold of those whose modules are in use, and of this site."""
    held, own = status["heads"], status["site"]
    users = {item["site"] for item in status["admitted"]} - {own} - set(status["expelled"])
    yield _gauge(
        "heads_missing",
        "Sites whose modules are in use and of which no signed heads are here.",
        sum(name not in held for name in users),
    )
    ends = [_seconds(held[name]["expires_at"]) for name in users if name in held]
    if ends:
        text = "When the first signed heads end of the sites whose modules are in use."
        yield _gauge("heads_expiry_timestamp_seconds", text, min(ends))
    if own in held:
        end = _seconds(held[own]["expires_at"])
        yield _gauge("own_heads_expiry_timestamp_seconds", "When this site's heads end.", end)


def _service(service: Mapping[str, Any] | None) -> Iterator[Metric]:
    running = service is not None and service["running"]
    yield _gauge("service_running", "1 if `ff-agent serve` runs.", running)
    if service is None:
        return
    for name, text in (
        ("last_contact", "When the coordinator last answered."),
        ("last_round", "When everything was last compared with the coordinator."),
        ("last_fit", "When a classifier was last made."),
    ):
        if service[name] is not None:
            yield _gauge(f"{name}_timestamp_seconds", text, _seconds(service[name]))
    if service["last_fit_seconds"] is not None:
        yield _gauge("last_fit_seconds", "How long that took.", service["last_fit_seconds"])
    errors = CounterMetricFamily(
        "ff_agent_errors", "Faults since the service started, by error identifier.", labels=["kind"]
    )
    for kind in sorted({"network", *service["errors"]}):  # one is there from the start
        errors.add_metric([kind], service["errors"].get(kind, 0))
    yield errors


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ff_agent_{name}", text, value=float(value))


def _labelled(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Metric:
    metric = GaugeMetricFamily(f"ff_agent_{name}", text, labels=labels)
    for of, value in values.items():
        metric.add_metric(of, value)
    return metric


def _seconds(text: str) -> float:
    return parse_timestamp(text).timestamp()
