"""`ff-agent serve` where things are not as they should be: stopped, doubled, alone."""

import datetime as dt
import signal
import time

import psutil
import pytest

pytest.importorskip("torch")

from client_agent.errors import UsageError
from client_agent.registry.fit_record import read_fit_record
from client_agent.service.record import read_service_record
from client_agent.steps.revoke import revoke
from tests.agents import agent, agent_json, finish
from tests.services import serving, until
from tests.unit.test_unlearning import EVERYONE, share


def test_sigterm_while_it_computes_ends_with_0_and_leaves_nothing_running(sites):
    """Without a coordinator all the while: what needs none is done."""
    site = sites["hospital-1"]
    digests = share(sites, site, EVERYONE)
    revoke(site, module=digests["hospital-3"], rebuild=False)
    with serving(site.home.root, "--nice", "3", "--settle", "1s") as process:
        until(lambda: list(site.home.shards.glob("*/*.npy")), process)
        # Certified before the classifier, since none had known the module.
        assert any(site.home.unlearning_certificates.glob("*.dsse"))
        (worker,) = psutil.Process(process.pid).children()
        assert worker.nice() == 3
        with pytest.raises(UsageError, match="another ff-agent command"), site.exclusive():
            pass
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        done = finish(process)
    assert done.code == 0, done.err
    assert time.monotonic() - began < 60  # seconds on a machine that is not shared
    assert "Traceback" not in done.err
    assert not worker.is_running()
    assert read_fit_record(site.home) is None
    with site.exclusive():
        pass


def test_outside_its_hours_it_says_so_computes_nothing_and_stays_the_only_one(sites):
    site = sites["hospital-2"]
    share(sites, site, EVERYONE[:2])
    opens = dt.datetime.now().astimezone() + dt.timedelta(hours=3)
    window = f"{opens:%H:%M}-{opens + dt.timedelta(minutes=1):%H:%M}"
    # As a service would be set up: in the home's configuration.
    site.home.config_file.write_text(f"hours: {window}\n")
    with serving(site.home.root) as process:  # and killed in the end, as by a power cut

        def waits():
            record = read_service_record(site.home)
            return record and record.next_opening

        until(waits, process)
        state = agent_json(site.home.root, "status")["service"]
        assert state["running"]
        assert state["activity"].startswith("fit waits: outside the hours")
        assert state["errors"]["network"] >= 1
        opening = dt.datetime.fromisoformat(waits())
        assert opening == opens.replace(second=0, microsecond=0)
        assert psutil.Process(process.pid).children() == []
        second = agent(site.home.root, "serve")
        assert second.code == 2
        assert f"process {process.pid}" in second.err
    assert read_fit_record(site.home) is None
    assert not list(site.home.shards.glob("*"))
    assert not agent_json(site.home.root, "status")["service"]["running"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--hours", "22-6"), 10, "hours"),
        (("--time-zone", "Europe/Nowhere", "--hours", "22:00-06:00"), 10, "time zone"),
        (("--every", "sometimes"), 10, "duration"),
        (("--gpu-memory", "2"), 2, "gpu-memory"),
        (("--metrics-file", "/proc/ff.prom"), 8, "/proc"),
        (("--log-file", "/proc/ff.log"), 8, "/proc"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(sites, arguments, code, says):
    done = agent(sites["hospital-1"].home.root, "serve", *arguments)
    assert done.code == code, done.err
    assert says in done.err
    assert "Traceback" not in done.err


def test_a_policy_that_is_broken_is_refused_at_the_start(sites):
    sites["hospital-1"].home.policy_file.write_text("release: {nonsense: 1}")
    done = agent(sites["hospital-1"].home.root, "serve")
    assert done.code == 10
    assert "nonsense" in done.err
