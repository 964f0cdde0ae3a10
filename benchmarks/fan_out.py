"""Many sites at one coordinator: eight that exchange modules at once, and ten to a thousand."""

import multiprocessing
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.modules import random_module
from client_agent.relay.channel import connect
from ff_protocol import dsse
from ff_protocol.clock import utc_now
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import read_publication
from tests.federation import TestFederation
from tests.transfer import is_publication, read_credentials, write_credentials

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Exchanged:
    """Wall seconds until the last of `sites` has all modules, and payload bytes of all of them."""

    sites: int
    seconds: float
    bytes_on_wire: int


def exchange(federation: TestFederation, sites: int, module_bytes: int) -> Exchanged:
    """Let every site send one module and receive the others', all at once, each a process.

    Starting the processes is not counted; connecting, hashing, signing checks and storing are.
    """
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(sites + 1), context.Queue()
    with tempfile.TemporaryDirectory() as name:
        workers = []
        for number in range(sites):
            folder = Path(name) / str(number)
            member = federation.site(f"site-{number}")
            module = random_module(folder / "module", module_bytes)
            _, envelope = member.publication_of(module)
            write_credentials(folder, member, envelope)
            arguments = (federation.endpoint, folder, sites, barrier, answers)
            workers.append(context.Process(target=_take_part, args=arguments))
            workers[-1].start()
        barrier.wait(120)
        started = time.monotonic()
        counted = [answers.get(timeout=300) for _ in workers]
        seconds = time.monotonic() - started
        for worker in workers:
            worker.join()
    return Exchanged(sites, seconds, sum(counted))


def _take_part(endpoint: str, folder: Path, sites: int, barrier: Any, answers: Any) -> None:
    trust, credential = read_credentials(folder)
    envelope = (folder / "publication.dsse").read_bytes()
    barrier.wait(120)
    with connect(endpoint, None, trust, credential) as client:
        module = folder / "module"
        client.send_module(module, envelope, describe_module(module)[1])
        known: set[str] = set()
        held = 1
        while held < sites:
            for other in client.list_statements(known):
                known.add(dsse.canonical.sha256_hex(other))
                if not is_publication(other):
                    continue
                payload = dsse.verify(other, trust, (Role.SITE,), at=utc_now())
                publication = read_publication(payload, max_module_bytes=1 << 30)
                if other != envelope:
                    client.fetch_files(publication, folder / publication.module)
                    held += 1
            if held < sites:
                time.sleep(_POLL_SECONDS)
        answers.put(client.bytes_sent + client.bytes_received)


@dataclass(frozen=True)
class Cost:
    """What `sites` sites cost: per site, to connect and publish, and for one that comes last.

    Attributes:
        publish_cpu_ms: the coordinator's CPU milliseconds per site that publishes.
        late_cpu_ms: its CPU milliseconds per module that the latecomer fetches.
    """

    sites: int
    publish_cpu_ms: float
    late_cpu_ms: float
    publish_wall_ms: float


def cost_of(federation: TestFederation, sites: int, module_bytes: int) -> Cost:
    """Simulate sites one after the other: each with its own certificate and connection."""
    server = psutil.Process(federation.servers[-1].process.pid)

    def cpu() -> float:
        times = server.cpu_times()
        return float(times.user + times.system)

    with tempfile.TemporaryDirectory() as name:
        walls = []
        prepared = []
        for number in range(sites):
            member = federation.site(f"many-{number}")
            module = random_module(Path(name) / str(number), module_bytes)
            prepared.append((member, module, *member.publication_of(module)))
        before = cpu()
        for member, module, publication, envelope in prepared:
            started = time.perf_counter()
            with connect(federation.endpoint, None, federation.trust, member.tls) as client:
                client.send_module(module, envelope, publication.files)
            walls.append(time.perf_counter() - started)
        published = cpu()
        late = federation.site("late")
        with connect(federation.endpoint, None, federation.trust, late.tls) as client:
            listed = list(client.list_statements(set()))
            for _, _, publication, envelope in prepared:
                assert envelope in listed
                target = Path(name) / "late"
                client.fetch_files(publication, target)
                shutil.rmtree(target)
        fetched = cpu()
    return Cost(
        sites,
        1000 * (published - before) / sites,
        1000 * (fetched - published) / sites,
        1000 * statistics.median(walls),
    )
