"""Strangers who flood the coordinator's port: how much slower does a member of the federation get?

Everything on loopback and bounded in time and number. The flood comes from one other process, as
fast as it can, so on few cores it also takes the member's own share of the processor: factors here
are what a hospital sees whose coordinator has no more cores than its attacker.
"""

import contextlib
import multiprocessing
import os
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.modules import random_module
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import Purpose, make_key
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.limits import MIB
from ff_protocol.manifest import describe_module
from ff_protocol.names import Identity, Role
from tests.federation import Member, TestFederation, make_federation
from tests.transfer import read_credentials, write_credentials

THREADS = 4
MOST_ATTEMPTS = 50_000
HALF_OPEN = 500
Address = tuple[str, int]


@dataclass(frozen=True)
class Flooded:
    """A member's figures with and without a flood of one kind.

    Attributes:
        flood: its kind.
        attempts_per_second: connections or calls that the strangers made.
        connect_factor: median time to connect and be answered, flooded over quiet.
        call_factor: the same of a call on a connection that stands.
        fetch_factor: the same of fetching a module.
        connect_ms, call_ms: medians under the flood, milliseconds.
        failed: of the member's calls under the flood.
        server_cpu: cores that the coordinator used under the flood.
    """

    flood: str
    attempts_per_second: float
    connect_factor: float
    call_factor: float
    fetch_factor: float
    connect_ms: float
    call_ms: float
    failed: int
    server_cpu: float


def measure(*, quick: bool) -> list[Flooded]:
    """Measure each kind of flood, each beside a quiet time of its own."""
    seconds = 2.0 if quick else 8.0
    with tempfile.TemporaryDirectory() as name, make_federation(Path(name)) as federation:
        stage = Stage(federation, Path(name), (1 if quick else 8) * MIB)
        return [stage.measure(kind, seconds) for kind in FLOODS]


class Stage:
    """A coordinator with a member that fetches from it, and strangers."""

    def __init__(self, federation: TestFederation, folder: Path, module_bytes: int) -> None:
        self._federation, self._folder = federation, folder
        self._server = psutil.Process(federation.servers[-1].process.pid)
        self._member = federation.site("member")
        module = random_module(folder / "module", module_bytes)
        self._publication, envelope = self._member.publication_of(module)
        with self._connect() as client:
            client.send_module(module, envelope, describe_module(module)[1])
        self._credentials = write_credentials(folder / "stranger", self._used(), envelope)

    def measure(self, kind: str, seconds: float) -> Flooded:
        """Watch the member for `seconds` without and with a flood."""
        quiet = self._watch(seconds)
        context = multiprocessing.get_context("spawn")
        made, stop = context.Value("l", 0), context.Event()
        address = ("127.0.0.1", self._federation.servers[-1].port)
        arguments = (kind, address, self._credentials, made, stop, 4 * seconds + 10)
        process = context.Process(target=flood, args=arguments)
        process.start()
        try:
            _until(lambda: made.value > 0, 30)
            before, cpu, started = made.value, self._cpu(), time.monotonic()
            flooded = self._watch(seconds)
            passed = time.monotonic() - started
            attempts, used = made.value - before, self._cpu() - cpu
        finally:
            stop.set()
            process.join(20)
            process.kill()
        return Flooded(
            flood=kind,
            attempts_per_second=attempts / passed,
            connect_factor=flooded.connect / quiet.connect,
            call_factor=flooded.call / quiet.call,
            fetch_factor=flooded.fetch / quiet.fetch,
            connect_ms=1000 * flooded.connect,
            call_ms=1000 * flooded.call,
            failed=flooded.failed,
            server_cpu=used / passed,
        )

    def _watch(self, seconds: float) -> "Seen":
        """Connect, call and fetch in turn until the time is over."""
        times: dict[str, list[float]] = {"connect": [], "call": [], "fetch": []}
        failed, end = 0, time.monotonic() + seconds
        while time.monotonic() < end or not all(times.values()):
            try:
                started = time.monotonic()
                with self._connect() as client:
                    client.get_federation()
                    times["connect"].append(time.monotonic() - started)
                    for _ in range(5):
                        started = time.monotonic()
                        client.get_federation()
                        times["call"].append(time.monotonic() - started)
                    with tempfile.TemporaryDirectory(dir=self._folder) as target:
                        started = time.monotonic()
                        client.fetch_files(self._publication, Path(target))
                        times["fetch"].append(time.monotonic() - started)
            except FederatedFactoryError:
                failed += 1
                if failed > 20:
                    raise
        return Seen(*(statistics.median(times[name]) for name in times), failed)

    def _connect(self) -> Any:
        endpoint, member = self._federation.endpoint, self._member
        return connect(endpoint, None, member.trust, member.tls, attempts=Attempts(limit=1))

    def _used(self) -> Member:
        """Someone with an invitation that has been used by another."""
        identity = Identity(self._federation.trust.federation_id, Role.INVITATION, "invited")
        credential = self._federation.credential(identity, Purpose.TLS_CLIENT)
        requests = [make_request(make_key(), "invited") for _ in range(2)]
        trust = self._federation.trust
        with connect(self._federation.endpoint, None, trust, credential) as client:
            client.enrol(*requests)
        return Member("invited", trust, credential, credential)

    def _cpu(self) -> float:
        times = self._server.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Seen:
    """Median seconds to connect, to be answered, to fetch; and how much failed."""

    connect: float
    call: float
    fetch: float
    failed: int


def flood(kind: str, address: Address, folder: Path, made: Any, stop: Any, seconds: float) -> None:
    """Flood `address` until told to stop, for `seconds` at most."""
    end = time.monotonic() + seconds

    def going() -> bool:
        return not stop.is_set() and time.monotonic() < end and made.value < MOST_ATTEMPTS

    def work() -> None:
        for _ in FLOODS[kind](address, folder):
            with made.get_lock():
                made.value += 1
            if not going():
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)


def half_open(address: Address, folder: Path) -> Iterator[None]:
    """Hold connections and say nothing on them; open another as soon as one is closed."""
    held: list[socket.socket] = []
    while True:
        if len(held) >= HALF_OPEN // THREADS:
            time.sleep(0.01)
            held.pop(0).close()
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(address, timeout=2))
        yield


def garbage(address: Address, folder: Path) -> Iterator[None]:
    """Connect and send 64 KiB that are no TLS."""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, timeout=2) as connection,
        ):
            connection.sendall(os.urandom(65536))
        yield


def handshakes(address: Address, folder: Path) -> Iterator[None]:
    """Make TLS 1.3 handshakes without a certificate: the server signs before it can refuse."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, timeout=2) as raw,
            context.wrap_socket(raw) as connection,
        ):
            connection.recv(1)
        yield


def used_invitation(address: Address, folder: Path) -> Iterator[None]:
    """Call Enrol with an invitation that has been used: authenticated, and refused each time."""
    trust, credential = read_credentials(folder)
    endpoint = f"{address[0]}:{address[1]}"
    requests = [make_request(make_key(), "invited") for _ in range(2)]
    with connect(endpoint, None, trust, credential, attempts=Attempts(limit=1)) as client:
        while True:
            with contextlib.suppress(FederatedFactoryError):
                client.enrol(*requests)
            yield


FLOODS: dict[str, Callable[[Address, Path], Iterator[None]]] = {
    "connections that say nothing": half_open,
    "64 KiB of garbage": garbage,
    "TLS handshakes without a certificate": handshakes,
    "calls with a used invitation": used_invitation,
}


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the flood did not begin")
        time.sleep(0.02)
