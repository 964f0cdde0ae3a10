"""Bad lines, killed agents, full disks: a transfer ends complete or goes on later, and no byte that
was acknowledged travels twice. Bytes are counted on the line itself."""

import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client_agent.errors import IdentityError, NetworkError
from client_agent.relay.channel import connect
from client_agent.relay.proxy import parse_proxy
from client_agent.relay.retrying import Attempts
from ff_protocol.certificates import Purpose
from ff_protocol.limits import CHUNK_BYTES, MIB
from ff_protocol.manifest import describe_module
from ff_protocol.names import Identity, Role
from tests.federation import SPEC, make_federation, make_module
from tests.line import Line
from tests.transfer import write_credentials

OVERHEAD = 1.02  # TLS records, HTTP/2 frames and protobuf around a chunk
HANDSHAKE = 20_000  # certificates, digests, headers


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    policy = {"max_module_bytes": 1024 * MIB}
    with make_federation(tmp_path_factory.mktemp("federation"), SPEC | {"policy": policy}) as made:
        yield made


@pytest.fixture
def site(federation):
    return federation.site("hospital-1")


def fresh_module(folder, chunks):
    """A module that the shared coordinator has never seen."""
    return make_module(folder, chunks * CHUNK_BYTES, seed=random.SystemRandom().getrandbits(60))


def through(line, federation, site, patience=30.0):
    return connect(
        line.endpoint,
        None,
        federation.trust,
        site.tls,
        attempts=Attempts(base_seconds=0.05, patience_seconds=patience),
    )


def to_coordinator(federation, **faults):
    return Line(("127.0.0.1", federation.servers[-1].port), **faults)


def held(federation, publication):
    """Bytes of this module's chunks that the coordinator has on its disk."""
    store = federation.home.store_folder / "chunks"
    names = {digest for entry in publication.files.values() for digest in entry.chunks}
    return sum(path.stat().st_size for name in names if (path := store / name[:2] / name).exists())


def process(action, endpoint, folder, module, patience=30, preexec_fn=None):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.transfer", action, endpoint, folder, module, str(patience)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )


def finish(started):
    out, _ = started.communicate(timeout=120)
    return started.returncode, json.loads(out)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_line_cut_while_sending_is_taken_up_where_it_broke(federation, site, tmp_path, share):
    module = fresh_module(tmp_path / "module", 12)
    publication, envelope = site.publication_of(module)
    kept = []
    with to_coordinator(federation, rate=12 * MIB, cut_after=int(share * 12 * MIB)) as line:
        line.on_cut = lambda: kept.append(held(federation, publication))
        with through(line, federation, site) as client:
            client.send_module(module, envelope, publication.files)
        total = sum(entry.size for entry in publication.files.values())
        assert held(federation, publication) == total
        assert len(kept) == 1
        later = sum(passage.up for passage in line.passages[1:])
    # What the coordinator had stored when the line broke did not travel again.
    assert later <= (total - kept[0]) * OVERHEAD + HANDSHAKE


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_line_cut_while_fetching_is_taken_up_where_it_broke(federation, site, tmp_path, share):
    module = fresh_module(tmp_path / "module", 12)
    publication, envelope = site.publication_of(module)
    with to_coordinator(federation) as line, through(line, federation, site) as client:
        client.send_module(module, envelope, publication.files)
    with to_coordinator(federation, rate=12 * MIB, cut_after=-int(share * 12 * MIB)) as line:
        with through(line, federation, site) as client:
            client.fetch_files(publication, tmp_path / "fetched")
        assert len(line.passages) >= 2
        # At most the chunk that was under way, and what lay in buffers, came twice.
        assert line.down <= 12 * MIB * OVERHEAD + HANDSHAKE + CHUNK_BYTES + 2 * 64 * 1024
    assert describe_module(tmp_path / "fetched") == describe_module(module)


def test_two_megabits_300_ms_and_2_percent_loss_lose_nothing(federation, site, tmp_path):
    modules = [fresh_module(tmp_path / name, 2) for name in ("there", "to-send")]
    (there, first), (publication, envelope) = map(site.publication_of, modules)
    with to_coordinator(federation) as line, through(line, federation, site) as client:
        client.send_module(modules[0], first, there.files)
    bad = {"rate": 250_000, "delay": 0.15, "loss": 0.02}
    steps = []

    def send():
        with to_coordinator(federation, **bad) as line, through(line, federation, site) as client:
            client.send_module(
                modules[1], envelope, publication.files, lambda *at: steps.append(at)
            )
            assert len(line.passages) == 1
            assert line.up <= 2 * MIB * OVERHEAD + HANDSHAKE
        assert steps[-1][0] == steps[-1][1]

    def fetch():
        with to_coordinator(federation, **bad) as line, through(line, federation, site) as client:
            client.fetch_files(there, tmp_path / "fetched")
            assert len(line.passages) == 1
            assert line.down <= 2 * MIB * OVERHEAD + HANDSHAKE
        assert describe_module(tmp_path / "fetched") == describe_module(modules[0])

    with ThreadPoolExecutor(2) as pool:  # two lines, each as bad as said
        for done in [pool.submit(send), pool.submit(fetch)]:
            done.result()


def test_a_line_that_falls_silent_is_replaced_and_then_given_up(federation, site, tmp_path):
    module = fresh_module(tmp_path / "module", 4)
    publication, envelope = site.publication_of(module)

    def fall_silent(done, total):
        if done >= 2 * MIB:
            line.frozen.set()

    with to_coordinator(federation) as line:
        with (
            through(line, federation, site, patience=4.0) as client,
            pytest.raises(NetworkError) as caught,
        ):
            client.send_module(module, envelope, publication.files, fall_silent)
        assert caught.value.transient
        line.frozen.clear()
        before = line.up
        stored = held(federation, publication)
        with through(line, federation, site, patience=16.0) as client:
            client.send_module(module, envelope, publication.files)
        assert stored >= 2 * MIB
        assert line.passages[-1].up <= (4 * MIB - stored) * OVERHEAD + HANDSHAKE
        assert line.up > before


def test_a_line_that_falls_silent_for_less_than_the_patience_is_waited_for(
    federation, site, tmp_path
):
    module = fresh_module(tmp_path / "module", 4)
    publication, envelope = site.publication_of(module)

    def pause(done, total):
        if done >= 2 * MIB and not line.frozen.is_set() and not paused:
            paused.append(done)
            line.frozen.set()
            threading.Timer(0.5, line.frozen.clear).start()

    paused = []
    with to_coordinator(federation) as line, through(line, federation, site) as client:
        client.send_module(module, envelope, publication.files, pause)
        assert len(line.passages) == 1
    assert paused


@pytest.mark.parametrize("action", ["send", "fetch"])
def test_an_agent_killed_in_the_middle_goes_on_from_its_last_chunk(
    federation, site, tmp_path, action
):
    module = fresh_module(tmp_path / "module", 12)
    publication, envelope = site.publication_of(module)
    folder = write_credentials(tmp_path / "credentials", site, envelope)
    target = module
    if action == "fetch":
        with to_coordinator(federation) as line, through(line, federation, site) as client:
            client.send_module(module, envelope, publication.files)
        target = tmp_path / "fetched"
    with to_coordinator(federation, rate=6 * MIB) as line:
        started = process(action, line.endpoint, folder, target)
        deadline = time.monotonic() + 60
        while max(line.up, line.down) < 5 * MIB:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started.kill()
        started.communicate()
        line.rate = None
        if action == "send":
            # The coordinator takes in what the line still carries.
            time.sleep(0.5)
            here = held(federation, publication)
        else:
            assert not (target / "module.onnx").exists()  # nothing half is visible
            here = (target / "module.onnx.part").stat().st_size // CHUNK_BYTES * CHUNK_BYTES
        assert here >= 2 * MIB
        known = len(line.passages)
        code, document = finish(process(action, line.endpoint, folder, target))
        assert code == 0, document
        again = line.passages[known:]
        travelled = sum(max(passage.up, passage.down) for passage in again)
    assert travelled <= (12 * MIB - here) * OVERHEAD + HANDSHAKE
    if action == "fetch":
        assert describe_module(target) == describe_module(module)
    else:
        assert held(federation, publication) == sum(e.size for e in publication.files.values())


def test_a_full_disk_at_the_receiver_ends_with_its_code_and_goes_on_later(
    federation, site, tmp_path
):
    module = fresh_module(tmp_path / "module", 8)
    publication, envelope = site.publication_of(module)
    folder = write_credentials(tmp_path / "credentials", site, envelope)
    with to_coordinator(federation) as line, through(line, federation, site) as client:
        client.send_module(module, envelope, publication.files)
    limit = 5 * CHUNK_BYTES + 1000
    with to_coordinator(federation) as line:
        full = process(
            *("fetch", line.endpoint, folder, tmp_path / "fetched"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        code, document = finish(full)
        assert (code, document["error"]) == (8, "storage")
        assert "cannot write" in document["message"]
        assert not (tmp_path / "fetched" / "module.onnx").exists()
        known = len(line.passages)
        code, document = finish(process("fetch", line.endpoint, folder, tmp_path / "fetched"))
        assert code == 0, document
        assert line.passages[known].down <= 3 * MIB * OVERHEAD + HANDSHAKE
    assert describe_module(tmp_path / "fetched") == describe_module(module)


# Permanent faults stop at once


def test_a_wrong_name_is_not_tried_again(federation, site):
    with (
        to_coordinator(federation) as line,
        pytest.raises(IdentityError, match="another name"),
        connect(line.endpoint, "elsewhere.example", federation.trust, site.tls),
    ):
        pytest.fail("connected")
    assert len(line.passages) == 1


def test_a_caller_without_permission_is_not_tried_again(federation):
    invited = federation.credential(
        Identity(federation.trust.federation_id, Role.INVITATION, "hospital-9"), Purpose.TLS_CLIENT
    )
    waits = []
    attempts = Attempts(sleep=waits.append)
    with (
        connect(federation.endpoint, None, federation.trust, invited, attempts=attempts) as client,
        pytest.raises(IdentityError, match="for sites that have joined"),
    ):
        client.get_federation()
    assert waits == []


def test_a_proxy_that_refuses_is_not_tried_again_and_its_password_not_shown(federation, site):
    waits = []
    with Line(("127.0.0.1", 1), connect_proxy=True, refuse_connect=407) as line:
        proxy = parse_proxy(f"http://user:secret@{line.endpoint}")
        with (
            pytest.raises(NetworkError, match="407") as caught,
            connect(
                federation.endpoint,
                None,
                federation.trust,
                site.tls,
                attempts=Attempts(sleep=waits.append),
                proxy=proxy,
            ),
        ):
            pytest.fail("connected")
    assert waits == []
    assert "secret" not in caught.value.message + repr(proxy) + str(proxy)


# Ways through


@pytest.mark.parametrize("authorisation", [None, "Basic dXNlcjpzZWNyZXQ="])
def test_a_transfer_passes_a_connect_proxy(federation, site, tmp_path, monkeypatch, authorisation):
    monkeypatch.setenv("no_proxy", "*")
    module = fresh_module(tmp_path / "module", 2)
    publication, envelope = site.publication_of(module)
    with to_coordinator(federation, connect_proxy=True, authorisation=authorisation) as line:
        secret = "user:secret@" if authorisation else ""
        name = f"coordinator.internal:{federation.servers[-1].port}"  # known to the proxy alone
        with connect(
            name,
            "localhost",
            federation.trust,
            site.tls,
            proxy=parse_proxy(f"http://{secret}{line.endpoint}"),
        ) as client:
            client.send_module(module, envelope, publication.files)
        assert line.up > 2 * MIB


def test_proxies_of_the_environment_do_not_act(federation, site, monkeypatch):
    with Line(("127.0.0.1", 1), connect_proxy=True) as line:
        for name in ("grpc_proxy", "https_proxy", "http_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://{line.endpoint}")
        with connect(federation.endpoint, None, federation.trust, site.tls) as client:
            client.get_federation()
        assert line.passages == []


def test_ipv6_from_end_to_end(federation, site, tmp_path):
    server = federation.start("[::1]:0")
    module = fresh_module(tmp_path / "module", 2)
    publication, envelope = site.publication_of(module)
    try:
        with connect(server.endpoint, None, federation.trust, site.tls) as client:
            client.send_module(module, envelope, publication.files)
            client.fetch_files(publication, tmp_path / "fetched")
    finally:
        federation.servers.pop().kill()
    assert describe_module(tmp_path / "fetched") == describe_module(module)


# Memory


def test_memory_does_not_grow_with_the_module(federation, site, tmp_path):
    size = 160 * MIB
    module = make_module(tmp_path / "module", 1)
    with (module / "module.onnx").open("wb") as stream:
        for _ in range(size // MIB):
            stream.write(os.urandom(MIB))
    _, envelope = site.publication_of(module)
    folder = write_credentials(tmp_path / "credentials", site, envelope)
    for action, target in (("send", module), ("fetch", tmp_path / "fetched")):
        code, document = finish(process(action, federation.endpoint, folder, target))
        assert code == 0, document
        assert document["heavy"] == []
        assert document["peak_bytes"] < 150 * MIB, action
    assert describe_module(tmp_path / "fetched") == describe_module(module)
