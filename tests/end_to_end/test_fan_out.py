"""One to many: a late site, news as it is published, and what waiting must not block."""

import shutil
import signal
import time

import pytest

pytest.importorskip("torch")

from client_agent.home import Home
from client_agent.registry.modules import admitted_modules
from client_agent.site import open_site
from client_agent.steps.join import join
from client_agent.steps.receive import receive
from client_agent.steps.send import send
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from tests.agents import agent, finish, start_agent
from tests.conftest import CLASSES
from tests.federation import make_federation
from tests.homes import UNAUDITED

SPEC = {
    "classes": list(CLASSES),
    "image": {"size": 8, "channels": 1},
    "synthesis": {"samples_per_class": 40, "batch_size": 16, "threads": 1},
    "classifier": {"epochs": 2, "threads": 1},
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation"), SPEC) as running:
        yield running


@pytest.fixture(scope="module")
def joined(federation, tmp_path_factory, digits):
    """Three homes of one federation; two of them have a module to send."""
    homes = {}
    for number, name in enumerate(CLASSES, start=1):
        home = Home(tmp_path_factory.mktemp(f"hospital-{number}") / "home")
        join(federation.invite(f"hospital-{number}"), home)
        if number < 3:
            home.policy_file.write_text(UNAUDITED)
            options = TrainOptions(data=digits, classes=(name,), steps=5, threads=1, audit=False)
            train(open_site(home), options)
        homes[number] = home
    return homes


@pytest.fixture
def homes(joined, tmp_path):
    """Fresh copies."""
    copies = {}
    for number, home in joined.items():
        shutil.copytree(home.root, tmp_path / str(number))
        copies[number] = Home(tmp_path / str(number))
    return copies


def noted(home, digest):
    """Whether the record says that a module was admitted: the last step of taking one in."""
    lines = home.log.read_text().splitlines()
    return any("module_admitted" in line and digest in line for line in lines)


def until(condition, process, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_watching_receives_news_as_it_comes_over_a_replaced_coordinator(federation, homes):
    watcher = homes[3]
    process = start_agent(watcher.root, "receive", "--watch", "--json")
    (first,) = send(open_site(homes[1])).modules
    until(lambda: noted(watcher, first.digest), process)
    # Not a poller that happens to be quick: the lock is free while nothing comes.
    with open_site(watcher).exclusive(wait=True):
        pass
    server = federation.servers[-1]
    server.kill()
    federation.start(server.endpoint)
    (second,) = send(open_site(homes[2])).modules
    until(lambda: noted(watcher, second.digest), process)
    process.send_signal(signal.SIGTERM)
    done = finish(process)
    assert done.code == 0, done.err
    assert set(done.document["admitted"]) == {first.digest, second.digest}
    assert "Traceback" not in done.err


def test_a_late_site_gets_everything_in_one_call_and_nothing_twice(homes):
    sent = [send(open_site(homes[number])).modules[0] for number in (1, 2)]
    late = open_site(homes[3])
    received = receive(late)
    assert set(received.admitted) == {module.digest for module in sent}
    assert received.bytes_on_wire > sum(module.bytes_total for module in sent)
    again = receive(late)
    assert again.admitted == []
    # Heads are compared again; no module travels twice.
    assert again.bytes_on_wire < 32 * 1024 < received.bytes_on_wire / 10


def test_watching_ends_by_itself_when_its_time_is_over(homes):
    done = agent(homes[3].root, "receive", "--watch", "--timeout", "1s", "--json")
    assert done.code == 0, done.err
    assert done.document["status"] == "ok"


def test_another_command_can_work_in_the_home_while_this_one_waits(homes):
    process = start_agent(homes[3].root, "receive", "--wait", "3", "--timeout", "5m")
    site = open_site(homes[3])

    def here():
        return len(admitted_modules(site.home)) == 2

    for number in (1, 2):
        send(open_site(homes[number]))
    until(here, process)
    with site.exclusive(wait=True):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130


def test_a_timeout_without_anything_to_wait_for_is_said(homes):
    done = agent(homes[3].root, "receive", "--timeout", "5s")
    assert done.code == 2
    assert "--wait" in done.err
    (homes[3].root / "config.yaml").write_text("timeout: 1h\n")
    assert agent(homes[3].root, "receive").code == 0
