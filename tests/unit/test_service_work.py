"""What the service sees of a home, heavy work as a process, and what makes it stop."""

import os
import shutil
import signal
import time
from dataclasses import replace

import pytest

from client_agent.errors import IdentityError, NetworkError
from client_agent.home import Home
from client_agent.policy.file import read_policy
from client_agent.registry.forgetting import read_pending
from client_agent.registry.modules import admitted_modules
from client_agent.service.agenda import Task
from client_agent.service.events import Ended, Events, Hangup, Rang, Reached, Unreached
from client_agent.service.heavy import HeavyWork, Order
from client_agent.service.look import Wish, fingerprint, look, read_wish
from client_agent.service.loop import LASTING_TRIES, Service
from client_agent.service.notify import ServiceManager
from client_agent.service.peek import has_urgent
from client_agent.service.record import read_service_record
from client_agent.service.schedule import Schedule, Window
from client_agent.service.settings import Settings
from client_agent.service.worker import limit_gpu_memory
from client_agent.site import open_site
from client_agent.steps.revoke import revoke
from client_agent.steps.send import send
from client_agent.steps.serve import serve
from ff_protocol.clock import utc_now
from ff_protocol.errors import PassphraseError
from ff_protocol.passphrase import Passphrase, change
from tests.homes import UNAUDITED
from tests.relays import MemoryRelay
from tests.unit.test_unlearning import EVERYONE, share

WAITING = ("receive", "--wait", "9")
"""A command that goes on until it is stopped, and computes nothing."""


@pytest.fixture
def relay(tmp_path, authority, sites, monkeypatch):
    made = MemoryRelay(tmp_path / "relay", sites["hospital-1"].trust).connect(monkeypatch)
    for place in ("loop", "round"):
        monkeypatch.setattr(f"client_agent.service.{place}.open_relay", made.open)
    return made


@pytest.fixture
def service(sites):
    """Of hospital-1, outside its hours: it computes nothing by itself."""
    weekday = (utc_now().weekday() + 3) % 7
    closed = Schedule((Window(frozenset({weekday}), 0, 60),))
    return Service(sites["hospital-1"].home, Settings(schedule=closed), ServiceManager({}))


@pytest.fixture
def at_work(sites):
    """Starts a command as heavy work; what is left of it is killed in the end."""
    started = []

    def start(*arguments, nice=0, task=Task.FIT):
        order = Order((*arguments, "--home", str(sites["hospital-1"].home.root), "--json"), nice)
        said = []
        started.append(HeavyWork(task, order, Events(), said.append))
        return started[-1], said

    yield start
    for work in started:
        work.wait()


def ended(work, seconds=60):
    deadline = time.monotonic() + seconds
    while not work.ended:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return work.outcome()


def test_heavy_work_sinks_its_priority_and_stops_when_told(at_work):
    work, said = at_work(*WAITING, nice=7)
    deadline = time.monotonic() + 60
    while not said:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert os.getpriority(os.PRIO_PROCESS, work.pid) == 7
    assert "not reachable" in said[0]
    work.stop("the hours are over")
    outcome = ended(work)
    assert outcome.stopped
    assert outcome.kind is None
    assert work.why_stopped == "the hours are over"
    assert isinstance(work._events.get(timeout=1), Ended)


def test_heavy_work_that_fails_says_why_and_one_that_is_killed_too(at_work):
    failed, _ = at_work("fit")
    killed, _ = at_work(*WAITING)
    os.kill(killed.pid, signal.SIGKILL)
    outcome = ended(failed)
    assert (outcome.kind, outcome.stopped) == ("not_ready", False)
    assert "a classifier needs at least two" in outcome.message
    outcome = ended(killed)
    assert outcome.kind == "killed"
    assert "signal 9" in outcome.message


def test_the_order_survives_its_way():
    order = Order(("fit", "--home", "/a b\n"), 3, 0.5)
    assert Order.from_line(order.to_line()) == order


def test_a_limit_of_gpu_memory_asks_for_no_gpu():
    limit_gpu_memory(0.5)


def test_only_a_revocation_or_a_change_of_members_is_urgent_and_each_once(sites, relay, tmp_path):
    first, second = sites["hospital-1"], sites["hospital-2"]
    told: set[str] = set()

    def urgent():
        with relay.open(first) as source:
            return has_urgent(first, source, told)

    send(second)
    assert not urgent()
    (digest,) = (module.digest for module in admitted_modules(second.home))
    revoke(second, module=digest, rebuild=False)
    # A stranger's statement stops nobody.
    genuine = list(relay.statements)
    relay.rewrite = lambda listing: [b"nonsense", *(item[:-40] + b"A" * 40 for item in listing)]
    assert not urgent()
    relay.rewrite = None
    assert urgent()
    # The coordinator may repeat it as often as it likes.
    assert not urgent()
    assert relay.statements == genuine


def test_a_revocation_stops_what_is_being_computed_and_is_applied(sites, relay, service, at_work):
    first, second = sites["hospital-1"], sites["hospital-2"]
    digests = share(sites, first, EVERYONE[:2])
    service._settings = replace(service._settings, schedule=Schedule())
    work, _ = at_work(*WAITING)
    service._work = work
    service._take(Rang())
    send(second)
    service._turn()
    assert work.why_stopped is None  # a module can wait
    revoke(second, module=digests["hospital-2"], rebuild=False)
    service._take(Rang())
    service._turn()
    assert work.why_stopped.startswith("a revocation")
    ended(work)
    service._turn()
    assert service._work is None
    assert [module.digest for module in admitted_modules(first.home)] == [digests["hospital-1"]]
    service._turn()
    assert read_pending(first) is None
    assert len(list(first.home.unlearning_certificates.glob("*.dsse"))) == 1


def test_the_end_of_the_hours_stops_what_is_being_computed(service, at_work):
    service._take(Unreached(NetworkError("it does not answer")))
    work, _ = at_work(*WAITING)
    service._work = work
    service._turn()
    assert work.why_stopped == "the hours are over"
    ended(work)
    service._turn()
    assert service._tell.record.errors == {"network": 1, "window_too_short": 1}


def test_a_coordinator_that_is_away_is_survived_and_one_that_refuses_is_not(service, relay):
    for _ in range(10):
        service._take(Unreached(NetworkError("it does not answer")))
    service._turn()  # asks nobody
    assert relay.listings == 0
    assert service._tell.record.activity.startswith("waiting for the coordinator")
    service._publish()
    assert read_service_record(service._home).errors == {"network": 10}
    service._take(Reached())
    service._take(Rang())
    service._turn()
    assert relay.listings > 0
    assert service._tell.record.last_contact
    refusal = IdentityError("hospital-1 has been expelled from the federation")
    for _ in range(LASTING_TRIES - 1):
        service._take(Unreached(refusal))
    with pytest.raises(IdentityError, match="expelled"):
        service._take(Unreached(refusal))


def test_a_policy_that_is_broken_meanwhile_does_not_stop_revocations(sites, relay, service):
    first, second = sites["hospital-1"], sites["hospital-2"]
    digests = share(sites, first, EVERYONE[:2])
    service._turn()
    first.home.policy_file.write_text("release: {nonsense: 1}")
    send(second)
    revoke(second, module=digests["hospital-2"], rebuild=False)
    service._take(Rang())
    service._received_at = float("-inf")
    service._turn()
    assert [module.digest for module in admitted_modules(first.home)] == [digests["hospital-1"]]
    assert service._tell.record.errors["invalid_configuration"] >= 1


def test_a_hangup_makes_a_whole_round(service, relay):
    service._turn()
    listings, first = relay.listings, service._round_at
    service._received_at = float("-inf")
    service._turn()
    assert (relay.listings, service._round_at) == (listings, first)
    service._take(Hangup())
    service._turn()
    assert relay.listings > listings
    assert service._round_at > first


def test_a_bug_in_a_round_is_counted_and_not_the_end(service, relay, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("client_agent.service.round.apply_revocations", broken)
    service._turn()
    assert service._tell.record.errors == {"bug": 1}
    assert service._tell.record.last_error.message == "ValueError('a bug')"


def test_what_is_due_in_a_home_that_has_fitted(fitted_home, tmp_path):
    shutil.copytree(fitted_home, tmp_path / "home")
    site = open_site(Home(tmp_path / "home"))
    state = look(site, Wish(), utc_now())
    assert state.fitted == state.modules
    assert not state.fit_due
    before = fingerprint(site.home)
    text = site.home.fit_record.read_text()
    site.home.fit_record.write_text(text.replace('"torch":"', '"torch":"0.'))
    assert look(site, Wish(), utc_now()).fit_due  # another version decides other bytes
    site.home.classifier.unlink()
    assert look(site, Wish(), utc_now()).fitted is None
    assert fingerprint(site.home) != before


def test_what_may_be_trained_and_sent(sites, tmp_path):
    site = sites["hospital-1"]  # has a module of "zero", never sent
    assert look(site, Wish(), utc_now()).untrained == ()
    assert look(site, Wish(data=True), utc_now()).untrained == ("one", "two")
    assert look(site, Wish(True, ("zero", "two")), utc_now()).untrained == ("two",)
    assert read_policy(site.home).release.require_audit is False
    assert look(site, Wish(), utc_now()).unsent == ("zero",)
    site.home.policy_file.unlink()  # without an audit it may not leave
    assert look(site, Wish(), utc_now()).unsent == ()
    site.home.policy_file.write_text(UNAUDITED)
    (tmp_path / "config.yaml").write_text("data: /mnt/x\nclasses: zero, two\nhours: sat,sun\n")
    assert read_wish(tmp_path / "config.yaml") == Wish(True, ("zero", "two"))
    assert read_wish(tmp_path / "none.yaml") == Wish()


def test_encrypted_keys_without_a_passphrase_end_it_at_the_start(sites, monkeypatch):
    home = sites["hospital-1"].home
    monkeypatch.delenv("FF_PASSPHRASE", raising=False)
    change([home.key("signing")], Passphrase(), b"correct horse battery")
    with pytest.raises(PassphraseError, match="nobody"):
        serve(home, Settings())
