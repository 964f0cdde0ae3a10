"""Whoever does the work, and beside what, the bytes are the same; and what a lost cluster costs.

The cluster is a real Ray of three processors, started on this machine as `--engine ray` starts it,
and joined by its address as one of many machines would be.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("torch")

import psutil

from client_agent.engines.engine import EngineOptions
from client_agent.engines.ray import RayEngine
from client_agent.errors import NetworkError
from client_agent.home import Home
from client_agent.registry.modules import own_modules, place
from client_agent.site import open_site
from client_agent.steps.synthesise import make_dataset
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from ff_protocol.manifest import describe_module
from tests import jobs
from tests.homes import UNAUDITED
from tests.jobs import Seen, job, outcome

TWO = ("zero", "one")


def trained(authority, folder: Path, digits: Path, engine: EngineOptions) -> dict[str, bytes]:
    """Train two classes; return the modules' bytes by class."""
    site = authority.join(folder, "hospital-1")
    site.home.policy_file.write_text(UNAUDITED)
    options = TrainOptions(data=digits, classes=TWO, steps=4, threads=1, audit=False)
    done = train(site, options, engine=engine)
    assert tuple(module.class_name for module in done.modules) == TWO
    entries = [entry for entry in site.log.entries() if entry["event"] == "trained"]
    assert [entry["details"]["threads"] for entry in entries] == [1, 1]
    assert not list((folder / "training").rglob("*.pt"))
    return {name: (folder / "outbox" / name / "module.onnx").read_bytes() for name in TWO}


def synthesised(home: Path, folder: Path, engine: EngineOptions) -> dict[str, bytes]:
    """Synthesise in a copy of a home; return its shards' bytes by path."""
    shutil.copytree(home, folder)
    make_dataset(open_site(Home(folder)), engine=engine)
    shards = folder / "shards"
    return {str(path.relative_to(shards)): path.read_bytes() for path in shards.rglob("*.npy")}


@pytest.fixture(scope="module")
def one_by_one(authority, digits, tmp_path_factory) -> dict[str, bytes]:
    """What one process trains."""
    return trained(authority, tmp_path_factory.mktemp("one"), digits, EngineOptions())


@pytest.fixture(scope="module")
def stocked(trained_homes, tmp_path_factory) -> Path:
    """A home that holds every site's module, admitted."""
    folder = tmp_path_factory.mktemp("stocked") / "home"
    shutil.copytree(trained_homes["hospital-1"], folder)
    for source in trained_homes.values():
        for module in own_modules(Home(source)).values():
            place(module, Home(folder).admitted(describe_module(module)[0]), copy=True)
    return folder


@dataclass
class Cluster:
    """A Ray that the engine has started; a job of it runs until its head is lost."""

    seen: Seen = field(default_factory=Seen)
    fault: Exception | None = None
    driver: psutil.Process | None = None

    def work(self, kept: Path) -> None:
        engine = RayEngine(None, 1, "cpu", None, 3, 0)
        with (
            suppress(NetworkError),
            closing(engine.run([job("endless", jobs.endless, kept=kept)], self.seen)) as events,
        ):
            try:
                outcome(events)
            except NetworkError as error:
                self.fault = error

    def process(self, name: str) -> psutil.Process:
        assert self.driver is not None
        (found,) = [item for item in self.driver.children() if item.name() == name]
        return found

    @property
    def address(self) -> str:
        (port,) = [
            line.laddr.port
            for line in self.process("gcs_server").net_connections()
            if line.status == psutil.CONN_LISTEN
        ]
        return f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Ray, with the variables set by which its own processes find it."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    running = Cluster()
    kept = tmp_path_factory.mktemp("cluster") / "kept"
    thread = threading.Thread(target=running.work, args=(kept,))
    before = set(psutil.Process().children())
    thread.start()
    while not running.seen.fractions:
        assert thread.is_alive(), running.fault
        time.sleep(0.1)
    (running.driver,) = [
        item for item in set(psutil.Process().children()) - before if item.children()
    ]
    environment = running.driver.environ()
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, environment[name])
        patch.setenv("RAY_ADDRESS", running.address)
        yield running
    with suppress(psutil.NoSuchProcess):
        running.process("gcs_server").kill()
    thread.join(60)


def test_two_processes_train_the_bytes_of_one(authority, digits, tmp_path, one_by_one):
    assert trained(authority, tmp_path, digits, EngineOptions("local", 2)) == one_by_one


def test_ray_trains_the_bytes_of_one(authority, digits, tmp_path, one_by_one, cluster):
    assert trained(authority, tmp_path, digits, EngineOptions("ray", 1)) == one_by_one


def test_processes_and_ray_make_the_shards_of_one(stocked, tmp_path, cluster):
    one = synthesised(stocked, tmp_path / "one", EngineOptions())
    assert len(one) == 3
    assert synthesised(stocked, tmp_path / "two", EngineOptions("local", 2)) == one
    assert synthesised(stocked, tmp_path / "ray", EngineOptions("ray")) == one


def test_a_killed_worker_of_ray_is_replaced_and_ctrl_c_brings_home_what_is_kept(cluster, tmp_path):
    engine = RayEngine(cluster.address, 1, "cpu", 2, 1, 0)
    seen, kept, steps = Seen(), tmp_path / "half", tmp_path / "steps"
    work = [job("half", jobs.halfway, kept=kept), job("long", jobs.endless, kept=steps)]
    with closing(engine.run(work, seen)) as events:
        assert next(events).value == b"first half, second half"
    assert kept.read_bytes() == b"first half, "
    assert seen.started_jobs.count("half") == 2
    assert int(steps.read_bytes()) > 1


def test_a_ray_of_ones_own_listens_to_this_machine_alone(cluster):
    listening = [
        line.laddr.ip
        for process in (cluster.driver, *cluster.driver.children(recursive=True))
        for line in process.net_connections()
        if line.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    (folder,) = [
        word.removeprefix("--temp_dir=")
        for word in cluster.process("raylet").cmdline()
        if word.startswith("--temp_dir=")
    ]
    assert Path(folder).parent.stat().st_mode & 0o077 == 0


def test_a_lost_head_is_one_line_and_its_processes_are_gone(cluster):
    processes = cluster.driver.children(recursive=True)
    cluster.process("gcs_server").kill()
    deadline = time.monotonic() + 60
    while cluster.fault is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert isinstance(cluster.fault, NetworkError)
    assert cluster.fault.message == "the head of the Ray cluster on this machine was lost"
    assert "run the same command again" in (cluster.fault.hint or "")
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
