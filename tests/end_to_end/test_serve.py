"""`ff-agent serve` among real processes: in step with its federation, whatever happens."""

import signal

import pytest

pytest.importorskip("torch")

from client_agent.home import Home
from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.modules import admitted_modules
from client_agent.site import open_site
from client_agent.steps.join import join
from client_agent.steps.revoke import revoke
from client_agent.steps.send import send
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from client_agent.steps.verify_unlearning import read_certificate
from tests.agents import agent, agent_json, finish
from tests.conftest import CLASSES
from tests.federation import ff_coordinator, make_federation
from tests.homes import UNAUDITED
from tests.services import serving, until

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
def homes(federation, tmp_path_factory, digits):
    """Three homes of one federation; two of them have a module to send."""
    made = []
    for number, name in enumerate(CLASSES, start=1):
        home = Home(tmp_path_factory.mktemp(f"hospital-{number}") / "home")
        join(federation.invite(f"hospital-{number}"), home)
        home.policy_file.write_text(UNAUDITED)
        if number < 3:
            options = TrainOptions(data=digits, classes=(name,), steps=5, threads=1, audit=False)
            train(open_site(home), options)
        made.append(home)
    return made


def test_serve_admits_fits_and_unlearns_over_a_coordinator_that_dies(federation, homes, tmp_path):
    first, second, served = homes
    file = tmp_path / "ff-agent.prom"
    options = ("--settle", "1s", "--nice", "1", "--metrics-file", file)
    with serving(served.root, *options) as process:
        (kept,) = send(open_site(first)).modules
        (withdrawn,) = send(open_site(second)).modules
        until(lambda: read_fit_record(served), process)
        assert set(read_fit_record(served).modules) == {kept.digest, withdrawn.digest}
        until(lambda: "\nff_agent_last_fit_seconds" in file.read_text(), process)
        assert "\nff_agent_classifier_up_to_date 1.0\n" in file.read_text()

        server = federation.servers[-1]
        server.kill()
        until(lambda: 'kind="network"} 0.0' not in file.read_text(), process)
        federation.start(server.endpoint)

        revoke(open_site(second), module=withdrawn.digest, rebuild=False)
        until(lambda: any(served.unlearning_certificates.glob("*.dsse")), process)
        assert [module.digest for module in admitted_modules(served)] == [kept.digest]
        assert not served.classifier.exists()
        (path,) = served.unlearning_certificates.glob("*.dsse")
        assert read_certificate(open_site(served), path).modules == (withdrawn.digest,)
        until(lambda: 'state="revoked"} 1.0' in file.read_text(), process)

        process.send_signal(signal.SIGTERM)
        done = finish(process)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert "\nff_agent_service_running 0.0\n" in file.read_text()
    assert agent_json(served.root, "log", "--verify")["status"] == "ok"


def test_serve_of_an_expelled_site_ends_and_says_so(federation, homes):
    ff_coordinator("expel", "hospital-3", "--home", str(federation.home.root), "--reason", "a test")
    done = agent(homes[2].root, "serve")
    assert done.code == 5, done.err
    assert "error: " in done.err
    assert "hospital-3 has been expelled" in done.err
