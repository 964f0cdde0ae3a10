"""The relay under load: a large module, and many sites at once.

    python -m tests.relay_load large --mebibytes 2048
    python -m tests.relay_load crowd --sites 100 --mebibytes 4

print one JSON document. Coordinator and clients are processes of their own, so that each one's
largest resident memory is known.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from coordinator.home import CoordinatorHome
from ff_protocol.limits import MIB
from ff_protocol.manifest import describe_module
from tests.federation import SPEC, Member, TestFederation, make_federation
from tests.transfer import listed_publications

MAX_MODULE = 4096 * MIB


def write_module(folder: Path, mebibytes: int, seed: int) -> Path:
    """Write a module of random bytes, a mebibyte at a time."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    with (folder / "module.onnx").open("wb") as stream:
        for _ in range(mebibytes):
            stream.write(rng.randbytes(MIB))
    (folder / "card.json").write_bytes(b'{"seed":%d}' % seed)
    (folder / "module.sig").write_bytes(b"signature %d" % seed)
    return folder


def peak_mebibytes(pid: int) -> float:
    """Largest resident memory of a running process so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def own_peak_mebibytes() -> float:
    """Largest resident memory of this process so far (ru_maxrss would count its parent's)."""
    return peak_mebibytes(os.getpid())


def large(folder: Path, mebibytes: int) -> dict[str, Any]:
    """Send and receive one module; return times and memory."""
    write_module(folder / "module", mebibytes, seed=1)
    spec = {**SPEC, "policy": {"max_module_bytes": MAX_MODULE}}
    with make_federation(folder, spec) as federation:
        measured: dict[str, Any] = {"mebibytes": mebibytes}
        for work in (_send_large, _receive_large):
            measured |= _in_process(work, folder, federation.endpoint)
        measured["coordinator_peak_mebibytes"] = peak_mebibytes(federation.servers[0].process.pid)
        assert federation.servers[0].stop() == 0
    return measured


def crowd(folder: Path, sites: int, mebibytes: int) -> dict[str, Any]:
    """Let every site send a module of its own and receive a common one, all at once."""
    with make_federation(folder) as federation:
        measured = _in_process(_crowd, folder, federation.endpoint, sites, mebibytes)
        measured["coordinator_peak_mebibytes"] = peak_mebibytes(federation.servers[0].process.pid)
        assert federation.servers[0].stop() == 0
    return {"sites": sites, "mebibytes_each_way": mebibytes, **measured}


def _in_process(work: Any, *arguments: Any) -> dict[str, Any]:
    # Spawned: a forked child would begin with this process's memory, and gRPC does not fork.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured: dict[str, Any] = pool.apply(work, arguments)
    return measured


def _federation(folder: Path) -> TestFederation:
    return TestFederation(folder, CoordinatorHome(folder / "coordinator"))


def _relay(federation: TestFederation, endpoint: str, site: Member) -> Any:
    attempts = Attempts(limit=8)
    return connect(endpoint, None, federation.trust, site.tls, attempts=attempts)


def _send_large(folder: Path, endpoint: str) -> dict[str, Any]:
    federation = _federation(folder)
    site = federation.site("sender")
    publication, envelope = site.publication_of(folder / "module")
    (folder / "publication").write_bytes(envelope)
    started = time.monotonic()
    with _relay(federation, endpoint, site) as client:
        client.send_module(folder / "module", envelope, publication.files)
    return {
        "sending_seconds": time.monotonic() - started,
        "sender_peak_mebibytes": own_peak_mebibytes(),
    }


def _receive_large(folder: Path, endpoint: str) -> dict[str, Any]:
    federation = _federation(folder)
    digest, entries = describe_module(folder / "module")
    publication, _ = federation.site("sender").publication(entries, digest)
    started = time.monotonic()
    with _relay(federation, endpoint, federation.site("receiver")) as client:
        assert listed_publications(client) == [(folder / "publication").read_bytes()]
        client.fetch_files(publication, folder / "fetched")
    seconds = time.monotonic() - started
    assert describe_module(folder / "fetched") == (digest, entries)
    return {"receiving_seconds": seconds, "receiver_peak_mebibytes": own_peak_mebibytes()}


def _crowd(folder: Path, endpoint: str, sites: int, mebibytes: int) -> dict[str, Any]:
    federation = _federation(folder)
    common = write_module(folder / "common", mebibytes, seed=0)
    publication, envelope = federation.site("common").publication_of(common)
    with _relay(federation, endpoint, federation.site("common")) as client:
        client.send_module(common, envelope, publication.files)
    members = [federation.site(f"site-{number}") for number in range(sites)]
    modules = [
        write_module(folder / f"module-{number}", mebibytes, seed=number + 1)
        for number in range(sites)
    ]
    barrier = threading.Barrier(2 * sites)
    ends: list[float] = []
    faults: list[Exception] = []

    def send(number: int) -> None:
        own, signed = members[number].publication_of(modules[number])
        barrier.wait()
        with _relay(federation, endpoint, members[number]) as client:
            client.send_module(modules[number], signed, own.files)

    def receive(number: int) -> None:
        barrier.wait()
        with _relay(federation, endpoint, members[number]) as client:
            client.fetch_files(publication, folder / f"fetched-{number}")

    def noted(work: Any, number: int) -> None:
        try:
            work(number)
            ends.append(time.monotonic())
        except Exception as error:
            faults.append(error)
            raise

    threads = [
        threading.Thread(target=noted, args=(work, number))
        for number in range(sites)
        for work in (send, receive)
    ]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    assert not faults, f"{len(faults)} of {2 * sites} failed, first: {faults[0]}"
    for number in range(sites):
        assert describe_module(folder / f"fetched-{number}")[0] == publication.module
    with _relay(federation, endpoint, members[0]) as client:
        assert len(listed_publications(client)) == sites + 1
    times = sorted(end - started for end in ends)
    return {
        "transfers": len(times),
        "first_seconds": times[0],
        "median_seconds": statistics.median(times),
        "last_seconds": times[-1],
        "clients_peak_mebibytes": own_peak_mebibytes(),
    }


def main() -> None:
    """Measure one of the two and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("large", "crowd"))
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--sites", type=int, default=100)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="relay-load-"))
    try:
        if arguments.what == "large":
            measured = large(folder, arguments.mebibytes)
        else:
            measured = crowd(folder, arguments.sites, arguments.mebibytes)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
