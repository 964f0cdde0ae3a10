"""200 seeded schedules of faults: after each, a module is either absent or whole and verified.

A schedule is drawn from its seed: the size of a module, and faults while it is sent and while it is
received. Most run a real server and a real store in this process, with a proxy that mistreats bytes
between client and server; every tenth runs `ff-coordinator serve` and kills it with SIGKILL. One
schedule again, with what it does: python -m tests.faults.test_relay_schedules SEED
"""

import contextlib
import errno
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from client_agent.errors import IdentityError, NetworkError
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from coordinator.folder_store import FolderStore
from coordinator.home import CoordinatorHome
from coordinator.server import Server
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import utc_now
from ff_protocol.limits import CHUNK_BYTES, MIB
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import read_publication
from tests.federation import TestFederation, make_federation, make_module
from tests.proxy import Fault, Proxy
from tests.transfer import listed_publications

SCHEDULES = 200
BATCHES = 10
PATIENCE = 25
"""Commands that an operator would type again at most; a schedule has far fewer faults."""


class FillingStore(FolderStore):
    """A folder on a disk that is full when told so: half of what is written is there."""

    full = 0

    def _write(self, path: Path, data: bytes) -> None:
        if self.full and len(data) > 1000:
            self.full -= 1
            super()._write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super()._write(path, data)


@dataclass(frozen=True)
class Schedule:
    """What happens, drawn from a seed."""

    seed: int
    size: int
    process: bool
    sending: tuple[Fault, ...]
    receiving: tuple[Fault, ...]
    full: int
    duplicate: bool
    rot: bool

    @classmethod
    def draw(cls, seed: int) -> "Schedule":
        rng = random.Random(seed)
        size = rng.randint(CHUNK_BYTES + 1, 4 * CHUNK_BYTES)
        process = seed % 10 == 0
        return cls(
            seed=seed,
            size=size,
            process=process,
            sending=_faults(rng, size, "up", at_least_kill=process),
            receiving=_faults(rng, size, "down", at_least_kill=False),
            full=0 if process else rng.choice((0, 0, 1, 3)),
            duplicate=rng.random() < 0.3,
            rot=rng.random() < 0.2,
        )


def _faults(
    rng: random.Random, size: int, direction: str, *, at_least_kill: bool
) -> tuple[Fault, ...]:
    kinds = rng.choices(("kill", "cut", "delay", "corrupt"), k=rng.randint(0, 3))
    if at_least_kill:
        kinds = [*kinds[:1], "kill"]
    # Mostly in the bulk, sometimes against it: handshakes, acknowledgements, questions.
    against = "down" if direction == "up" else "up"
    return tuple(
        Fault(kind, direction, rng.randint(0, size))
        if rng.random() < 0.8
        else Fault(kind, against, rng.randint(0, 8000))
        for kind in kinds
    )


@dataclass
class Ground:
    """Where a schedule is played: a store, a server over it, a proxy before that."""

    schedule: Schedule
    federation: TestFederation
    store: FillingStore
    start: Callable[[], tuple[str, Callable[[], None]]]
    acknowledged: int = 0
    closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.endpoint, self.kill = self.start()
        self.proxy = Proxy(self.targets, on_kill=self.restart)

    def targets(self) -> list[tuple[str, int]]:
        host, _, port = self.endpoint.rpartition(":")
        return [(host, int(port))]

    def restart(self) -> None:
        with self._lock:
            self.kill()
            if not self.closed:
                try:
                    self.endpoint, self.kill = self.start()
                except OSError as error:  # which the proxy would take for a broken connection
                    raise RuntimeError("the coordinator did not start again") from error

    def close(self) -> None:
        self.proxy.close()
        with self._lock:
            self.closed = True
            self.kill()

    def persist(self, work: Callable[..., object], site: object) -> None:
        """Do what a person does: run the command again until it succeeds."""
        for _ in range(PATIENCE):
            client = None
            try:
                with self.relay(site) as client:
                    work(client)
                    return
            except (NetworkError, IdentityError) as error:
                self.check_store()
                last = error
                with self._lock:
                    pass  # a restart under way takes its time on a busy machine, and no try
            finally:
                if client is not None:
                    self.acknowledged += client.bytes_sent
        raise AssertionError(f"it never succeeded: {last.message}") from last

    def relay(self, site):
        attempts = Attempts(limit=4, base_seconds=0.05, cap_seconds=0.3)
        trust = self.federation.trust
        return connect(self.proxy.endpoint, None, trust, site.tls, attempts=attempts)

    def check_store(self, *, damaged: str | None = None) -> bool:
        """Every visible publication has every chunk, whole; True if there is one."""
        keys = [key for key, _ in self.store.scan("publications/")]
        for key in keys:
            payload = dsse.verify(
                self.store.get(key), self.federation.trust, (Role.SITE,), at=utc_now()
            )
            for entry in read_publication(payload, max_module_bytes=8 * MIB).files.values():
                for digest in entry.chunks:
                    data = self.store.get(f"chunks/{digest[:2]}/{digest}")
                    assert data is not None, f"published, but chunk {digest[:8]} is not there"
                    whole = sha256_hex(data) == digest
                    assert whole or digest == damaged, f"chunk {digest[:8]} is damaged"
        return bool(keys)


def play(schedule: Schedule, federation: TestFederation, folder: Path) -> None:
    """Play a schedule; every promise is checked on the way."""
    with ground_for(schedule, federation, folder) as ground:
        _play_on(ground, folder)


def _play_on(ground: Ground, folder: Path) -> None:
    schedule = ground.schedule
    site, other = ground.federation.site("sender"), ground.federation.site("receiver")
    module = make_module(folder / "module", schedule.size, seed=schedule.seed)
    digest, entries = describe_module(module)
    publication, envelope = site.publication(entries, digest)

    ground.proxy.faults = list(schedule.sending)
    ground.store.full = schedule.full

    def send(client):
        client.send_module(module, envelope, entries)

    with ThreadPoolExecutor(2) as senders:
        times = 2 if schedule.duplicate else 1
        for sent in [senders.submit(ground.persist, send, site) for _ in range(times)]:
            sent.result()
    assert ground.check_store()
    distinct = {chunk: entry for entry in entries.values() for chunk in entry.chunks}
    total = sum(entry.size for entry in entries.values()) + len(envelope)
    assert len(distinct) == len(list(ground.store.scan("chunks/")))
    if not schedule.duplicate:
        assert ground.acknowledged <= total, "something acknowledged was sent again"

    target = folder / "received"
    if schedule.rot:
        _rot_and_heal(ground, publication, target, site, other, send)
    ground.proxy.passed.update(up=0, down=0)
    ground.proxy.faults = list(schedule.receiving)

    def receive(client):
        assert listed_publications(client) == [envelope]
        try:
            client.fetch_files(publication, target)
        finally:
            check_received(target, entries)

    ground.persist(receive, other)
    assert describe_module(target) == (digest, entries)


def check_received(target, entries):
    """A file under its own name is whole; anything else still ends in .part."""
    for path in target.iterdir():
        if not path.name.endswith(".part"):
            assert sha256_hex(path.read_bytes()) == entries[path.name].sha256


def _rot_and_heal(ground, publication, target, site, other, send):
    """A byte changes at rest: it is noticed, kept out, and mended by sending again."""
    chunk = publication.files["module.onnx"].chunks[-1]
    path = ground.store._path(f"chunks/{chunk[:2]}/{chunk}")
    data = path.read_bytes()
    place = ground.schedule.seed % len(data)
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    ground.proxy.faults = []

    with ground.relay(other) as client, pytest.raises(NetworkError, match="other bytes than chunk"):
        client.fetch_files(publication, target)
    assert not (target / "module.onnx").exists()
    assert ground.check_store(damaged=chunk)
    path.unlink()
    ground.persist(send, site)
    assert ground.check_store()


@contextlib.contextmanager
def ground_for(schedule: Schedule, federation: TestFederation, folder: Path) -> Iterator[Ground]:
    """Server and proxy of a schedule, with a store of their own."""
    if schedule.process:
        home = CoordinatorHome(folder / "home")
        shutil.copytree(federation.home.root, home.root)
        own = TestFederation(folder, home)
        store = FillingStore(home.store_folder)

        def start():
            server = own.start()
            return server.endpoint, server.kill
    else:
        own, store = federation, FillingStore(folder / "store")

        def start():
            server = Server(federation.home, "127.0.0.1:0", store=store)
            server.start()
            return server.endpoint, lambda: server.stop(0)

    ground = Ground(schedule, own, store, start)
    try:
        yield ground
    finally:
        ground.close()


def attempt(seed: int, federation: TestFederation) -> str | None:
    """Play one schedule; return what went wrong."""
    schedule = Schedule.draw(seed)
    folder = Path(tempfile.mkdtemp(prefix=f"schedule-{seed}-", dir=federation.folder))
    try:
        play(schedule, federation, folder)
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}\n    {schedule}"
    shutil.rmtree(folder)
    return None


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation"), serve=False) as founded:
        yield founded


@pytest.mark.parametrize("batch", range(BATCHES))
def test_after_every_schedule_a_module_is_absent_or_whole(federation, batch):
    share = SCHEDULES // BATCHES
    seeds = range(batch * share, (batch + 1) * share)
    # Schedules wait more than they work.
    with ThreadPoolExecutor(4) as players:
        outcomes = list(players.map(lambda seed: attempt(seed, federation), seeds))
    wrong = [outcome for outcome in outcomes if outcome is not None]
    assert not wrong, "replay: python -m tests.faults.test_relay_schedules SEED\n" + "\n".join(
        wrong
    )


def test_the_schedules_contain_every_fault_and_are_the_same_every_time():
    schedules = [Schedule.draw(seed) for seed in range(SCHEDULES)]
    assert schedules == [Schedule.draw(seed) for seed in range(SCHEDULES)]
    kinds = {fault.kind for item in schedules for fault in (*item.sending, *item.receiving)}
    assert kinds == {"kill", "cut", "delay", "corrupt"}
    assert sum(item.process for item in schedules) == 20
    for share in ("full", "duplicate", "rot"):
        assert sum(bool(getattr(item, share)) for item in schedules) > 20


def main(seed: int) -> None:
    """Play one schedule and let its fault show."""
    folder = Path(tempfile.mkdtemp(prefix="federation-"))
    with make_federation(folder, serve=False) as founded:
        print(Schedule.draw(seed))
        play(Schedule.draw(seed), founded, folder / "schedule")
        print("whole and verified")


if __name__ == "__main__":
    main(int(sys.argv[1]))
