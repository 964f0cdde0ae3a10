"""What the service says of itself: metrics, log, service manager, and the one lock."""

import json
import logging
import os
import re
import socket
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from client_agent.errors import IdentityError, NetworkError, UsageError
from client_agent.home import Home
from client_agent.relay.translation import PeerUntrustedError
from client_agent.service.faults import is_lasting, kind_of
from client_agent.service.logs import LOGGER, LoggedProgress, set_up_logs
from client_agent.service.metrics import write_metrics
from client_agent.service.notify import ServiceManager
from client_agent.service.record import (
    Fault,
    ServiceRecord,
    claim,
    is_running,
    read_service_record,
    service_status,
)
from client_agent.steps.status import status
from ff_protocol import PROTOCOL_VERSION, __version__
from ff_protocol.clock import utc_now
from ff_protocol.errors import PassphraseError, SpecError
from ff_protocol.files import StorageError

ROOT = Path(__file__).resolve().parents[2]
RECORD = ServiceRecord(
    pid=1,
    started_at="2026-11-25T21:00:00Z",
    activity="waiting for news",
    last_contact="2026-11-25T22:00:00Z",
    last_round="2026-11-25T21:30:00Z",
    last_fit="2026-11-25T21:40:00Z",
    last_fit_seconds=12.5,
    errors={"network": 3, "withheld": 1},
    last_error=Fault(at="2026-11-25T21:50:00Z", kind="network", message="it does not answer"),
)


def metrics(site, file):
    write_metrics(file, status(site), utc_now())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }


def test_metrics_say_what_status_says(sites, tmp_path):
    site = sites["hospital-1"]
    RECORD.write(site.home)
    found = metrics(site, tmp_path / "ff.prom")
    state = status(site)
    assert found["ff_agent_build_info", *sorted((__version__, str(PROTOCOL_VERSION)))] == 1
    assert found["ff_agent_modules", "admitted"] == len(state["admitted"])
    assert found["ff_agent_modules_unsent",] == 1
    assert found["ff_agent_classes_missing",] == 3
    assert found["ff_agent_classifier",] == found["ff_agent_classifier_up_to_date",] == 0
    assert found["ff_agent_last_fit_seconds",] == 12.5
    assert found["ff_agent_last_contact_timestamp_seconds",] == 1795644000
    assert found["ff_agent_errors_total", "withheld"] == 1
    assert found["ff_agent_errors_total", "network"] == 3
    assert found["ff_agent_service_running",] == 0
    left = found["ff_agent_certificate_expiry_timestamp_seconds", "tls"] - utc_now().timestamp()
    assert abs(left / 86400 - state["identity"]["tls"]["days"]) <= 1
    with claim(site.home):
        assert metrics(site, tmp_path / "ff.prom")["ff_agent_service_running",] == 1


def test_a_site_that_was_never_served_has_metrics_too(sites, tmp_path):
    found = metrics(sites["hospital-2"], tmp_path / "ff.prom")
    assert found["ff_agent_service_running",] == 0
    assert ("ff_agent_last_contact_timestamp_seconds",) not in found


def test_metrics_are_readable_whatever_the_umask(sites, tmp_path):
    before = os.umask(0o077)
    try:
        write_metrics(tmp_path / "ff.prom", status(sites["hospital-1"]), utc_now())
    finally:
        os.umask(before)
    assert (tmp_path / "ff.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["ff.prom"]


def test_metrics_that_cannot_be_written_are_a_fault_of_the_disk(sites):
    with pytest.raises(StorageError):
        write_metrics(Path("/proc/ff.prom"), status(sites["hospital-1"]), utc_now())


def test_the_alerts_ask_for_metrics_that_exist(sites, tmp_path):
    site = sites["hospital-1"]
    RECORD.write(site.home)
    names = {name for name, *_ in metrics(site, tmp_path / "ff.prom")}
    # Of others' heads there is no moment without a module of theirs in use.
    names.add("ff_agent_heads_expiry_timestamp_seconds")
    text = (ROOT / "configs" / "prometheus-agent-alerts.example.yml").read_text()
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"ff_agent_\w+", rule["expr"])}
    assert len(rules) >= 8
    assert used <= names
    documented = (ROOT / "docs" / "service.md").read_text()
    assert all(f"`{name}`" in documented for name in names), names


def test_a_log_of_bounded_size_keeps_so_many_older_ones(tmp_path):
    file = tmp_path / "logs" / "serve.log"
    logger = set_up_logs(file, 500 / 2**20, 2, quiet=False)
    for number in range(40):
        logger.info("line %d of the log", number)
    names = sorted(path.name for path in file.parent.iterdir())
    assert names == ["serve.log", "serve.log.1", "serve.log.2"]
    assert all(path.stat().st_size <= 500 for path in file.parent.iterdir())
    assert "line 39" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_log_that_was_moved_or_deleted_is_opened_anew(tmp_path):
    file = tmp_path / "serve.log"
    logger = set_up_logs(file, 0, 5, quiet=False)
    logger.info("first")
    file.rename(tmp_path / "serve.log-20261125")  # as logrotate does
    logger.info("second")
    assert "first" in (tmp_path / "serve.log-20261125").read_text()
    assert "second" in file.read_text()
    assert "first" not in file.read_text()
    file.unlink()
    logger.info("third")
    assert "third" in file.read_text()


def test_a_log_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        set_up_logs(tmp_path / "file" / "serve.log", 1, 1, quiet=False)


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_of_start_state_and_life(tmp_path, abstract):
    name = f"@ff-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        manager.settimeout(5)
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"}
        service = ServiceManager({**environment, "WATCHDOG_PID": str(os.getpid())})
        service.ready()
        service.status("fit: \n at work")
        service.status("fit: \n at work")
        progress = LoggedProgress(logging.getLogger(LOGGER), service)
        with progress.task("receiving", 1) as task:
            task.update(1)
            task.update(1)  # too soon to say it again
        service.stopping()
        heard = [manager.recv(4096).decode() for _ in range(4)]
        assert heard == ["READY=1", "STATUS=fit: at work", "WATCHDOG=1", "STOPPING=1"]
        ServiceManager({**environment, "WATCHDOG_PID": "1"}).alive()
        manager.settimeout(0.05)
        with pytest.raises(TimeoutError):
            manager.recv(4096)


def test_without_a_service_manager_nothing_happens(tmp_path):
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "x"}):
        service = ServiceManager(environment)
        service.ready()
        service.alive()


def test_one_service_for_a_home(tmp_path):
    home = Home(tmp_path)
    assert service_status(home) is None
    assert not is_running(home)
    with claim(home):
        RECORD.write(home)
        assert is_running(home)
        with pytest.raises(UsageError, match=r"process 1\) is running"), claim(home):
            pass
    assert not is_running(home)
    assert read_service_record(home) == RECORD


def test_a_record_of_another_version_counts_as_none(tmp_path):
    home = Home(tmp_path)
    home.service_record.write_text(json.dumps({"pid": 1, "from_the_future": True}))
    assert read_service_record(home) is None


def test_what_may_pass_and_what_may_not():
    assert is_lasting(IdentityError("expelled"))
    assert is_lasting(PassphraseError("wrong"))
    for passing in (NetworkError("down"), PeerUntrustedError("intercepted"), SpecError("typo"),
                    OSError(28, "full"), ValueError("a bug")):  # fmt: skip
        assert not is_lasting(passing)
    kinds = [kind_of(error) for error in (NetworkError(""), OSError(), MemoryError(), ValueError())]
    assert kinds == ["network", "storage", "out_of_memory", "bug"]
