"""`ff-agent serve` in a federation of real processes: in step with it, whatever happens meanwhile."""

import json
import shutil
import signal
import time

import pytest

pytest.importorskip("torch")

from client_agent.home import Home
from client_agent.registry.fit_record import read_fit_record
from client_agent.service.record import read_service_record
from client_agent.site import open_site
from client_agent.steps.join import join
from client_agent.steps.revoke import revoke
from client_agent.steps.send import send
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from tests.agents import agent, agent_json, finish, start_agent
from tests.conftest import CLASSES
from tests.federation import make_federation
from tests.homes import UNAUDITED

SPEC = {
    "classes": list(CLASSES),
    "image": {"size": 8, "channels": 1},
    "synthesis": {"samples_per_class": 40, "batch_size": 16, "threads": 1},
    "classifier": {"epochs": 2, "threads": 1},
}


def until(condition, process, what, seconds=150):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)


def test_serve_keeps_a_site_in_step(tmp_path, digits):
    with make_federation(tmp_path, SPEC) as federation:
        homes = {}
        for number, name in enumerate(CLASSES, start=1):
            home = Home(tmp_path / f"hospital-{number}")
            join(federation.invite(f"hospital-{number}"), home)
            home.policy_file.write_text(UNAUDITED)
            if number < 3:
                train(open_site(home), TrainOptions(data=digits, classes=(name,), steps=5, threads=1, audit=False))  # noqa: E501
            homes[number] = home
        served = homes[3]
        t = time.process_time()
        metrics, log = tmp_path / "ff.prom", tmp_path / "serve.log"
        process = start_agent(served.root, "serve", "--settle", "1s", "--metrics-file", metrics, "--log-file", log)
        for n in (1, 2):
            send(open_site(homes[n]))
        until(lambda: read_fit_record(served), process, "a fit")
        print(log.read_text())
        process.send_signal(signal.SIGTERM)
        done = finish(process)
        print(done, log.read_text(), metrics.read_text(), served.service_record.read_text())
