"""What one size of federation costs: the coordinator, a newcomer, a site that comes back."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.large.federation import REVOKING, SPEC, Crowd, open_home
from client_agent.registry import verified
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.relay.channel import connect
from client_agent.relay.connection import open_relay
from client_agent.site import Site
from client_agent.steps.intake import take_statements
from client_agent.steps.select import chosen_modules, look_at_cards
from ff_protocol import dsse
from ff_protocol.clock import utc_now
from ff_protocol.files import write_atomically
from ff_protocol.names import Role
from tests.federation import make_federation

NEWS = 10
"""Sites that publish while another one is away."""
RULE = b"selection: {most_per_class: 8}\n"


@dataclass(frozen=True)
class Row:
    """What a federation of `sites` costs. CPU is of processes; `coordinator` is the server's.

    Attributes:
        publish_cpu_ms: coordinator's code to verify, check, store and list one publication and one
            heads statement, in this process, mean over all.
        publish_late_cpu_ms: the same, mean over the last tenth.
        wire_cpu_ms: the server's CPU for a site that connects, sends and publishes, when N have.
        start_cpu_s, start_s: an empty replica until it answers, over this store.
        newcomer_*: a site that takes all statements of N others and holds none.
        cards_*: it looks at the cards of all modules.
        select_cpu_s: it chooses, 8 a class of 8 classes.
        fetch_*: it fetches what it chose.
        return_*: it comes back after NEWS sites have published and signed heads anew.
        before_*: the same without positions, all heads sent, as agents before this did.
        verify_cpu_ms: one statement from the wire: signature, chain, form.
        coordinator_peak_mib: largest resident set of the server after all this.
    """

    sites: int
    publish_cpu_ms: float
    publish_late_cpu_ms: float
    wire_cpu_ms: float
    start_cpu_s: float
    start_s: float
    newcomer_bytes: int
    newcomer_cpu_s: float
    newcomer_s: float
    newcomer_coordinator_cpu_s: float
    cards_bytes: int
    cards_cpu_s: float
    cards_coordinator_cpu_s: float
    select_cpu_s: float
    fetch_modules: int
    fetch_bytes: int
    fetch_cpu_s: float
    fetch_s: float
    return_bytes: int
    return_cpu_s: float
    return_coordinator_cpu_s: float
    before_bytes: int
    before_cpu_s: float
    before_coordinator_cpu_s: float
    verify_cpu_ms: float
    coordinator_peak_mib: float


@dataclass
class Cost:
    """CPU seconds of this process and of the server, wall seconds, and bytes of payload."""

    cpu: float = 0.0
    server_cpu: float = 0.0
    seconds: float = 0.0
    carried: int = 0


def measure_size(sites: int, folder: Path, seed: int, *, sample: int = 20) -> Row:
    """Make a federation of `sites` sites below `folder` and measure it.

    Args:
        sites: its size.
        folder: is filled; a memory file system keeps the disk out of it.
        seed: of stub weights and figures.
        sample: sites that publish over the wire, and statements that are verified for the mean.
    """
    folder.mkdir(parents=True)
    with make_federation(folder, SPEC, serve=False) as federation:
        crowd = Crowd(federation, seed)
        publish_ms = _fill(crowd, sites)
        values: dict[str, Any] = {
            "sites": sites,
            "publish_cpu_ms": sum(publish_ms) / sites,
            "publish_late_cpu_ms": _mean(publish_ms[-max(1, sites // 10) :]),
        }
        started = time.perf_counter()
        federation.start()
        values["start_s"] = time.perf_counter() - started
        server = psutil.Process(federation.servers[-1].process.pid)
        values["start_cpu_s"] = _cpu(server)
        values |= _newcomer(crowd, folder / "home", server)
        values |= _returning(crowd, folder / "home", server, sites)
        values["wire_cpu_ms"] = _over_the_wire(crowd, folder, server, sample)
        values["verify_cpu_ms"] = _verifying(crowd, folder / "home", sample)
        values["coordinator_peak_mib"] = _peak_bytes(server) / 2**20
    return Row(**values)


def _fill(crowd: Crowd, sites: int) -> list[float]:
    """Have all sites publish; return the coordinator's CPU milliseconds for each."""
    spent = []
    for member in crowd.join(sites):
        stub = crowd.stub(member)
        crowd.upload(stub)
        _, publication = crowd.sign(member, stub)
        heads = crowd.sign_heads(member)
        started = time.process_time()
        crowd.publish(publication)
        crowd.publish_heads(heads)
        spent.append(1000 * (time.process_time() - started))
        if len(spent) % REVOKING == 0:
            crowd.revoke(member.revocation((stub.digest,))[1])
    return spent


def _newcomer(crowd: Crowd, home: Path, server: psutil.Process) -> dict[str, Any]:
    site = open_home(crowd, home, "newcomer")
    write_atomically(site.home.policy_file, RULE)
    with _costs(site, server) as (relay, listing):
        take_statements(site, relay, whole=True)
    revoked = load_revocations(site.home, site.trust)
    with _costs(site, server) as (relay, cards):
        refused: dict[str, str] = {}
        look_at_cards(site, relay, revoked, refused, offers=lambda module: True)
    assert not refused, refused
    started = time.process_time()
    chosen = chosen_modules(site, revoked) or frozenset()
    select = time.process_time() - started
    wanted = [item for item in published_modules(site) if item.module in chosen]
    with _costs(site, server) as (relay, fetch):
        for publication in wanted:
            relay.fetch_files(publication, site.home.incoming(publication.module))
    return {
        "newcomer_bytes": listing.carried,
        "newcomer_cpu_s": listing.cpu,
        "newcomer_s": listing.seconds,
        "newcomer_coordinator_cpu_s": listing.server_cpu,
        "cards_bytes": cards.carried,
        "cards_cpu_s": cards.cpu,
        "cards_coordinator_cpu_s": cards.server_cpu,
        "select_cpu_s": select,
        "fetch_modules": len(wanted),
        "fetch_bytes": fetch.carried,
        "fetch_cpu_s": fetch.cpu,
        "fetch_s": fetch.seconds,
    }


def _returning(crowd: Crowd, home: Path, server: psutil.Process, sites: int) -> dict[str, Any]:
    old = home.with_name("home-before")
    shutil.copytree(home, old)
    for number, member in enumerate(crowd.join(NEWS)):
        stub = crowd.stub(member)
        crowd.upload(stub)
        crowd.publish(crowd.sign(member, stub)[1])
        again = crowd.members[number % sites]
        crowd.publish_heads(crowd.sign_heads(again, sequence=2 + number // sites))
    costs = []
    for folder, source in ((home, _as_it_is), (old, _without_positions)):
        site = _reopen(folder)
        before = len(published_modules(site))
        verified.forget_all()  # a command of its own begins with an empty table
        with _costs(site, server) as (relay, cost):
            take_statements(site, source(relay), whole=True)
        assert len(published_modules(site)) == before + NEWS
        costs.append(cost)
    now, then = costs
    return {
        "return_bytes": now.carried,
        "return_cpu_s": now.cpu,
        "return_coordinator_cpu_s": now.server_cpu,
        "before_bytes": then.carried,
        "before_cpu_s": then.cpu,
        "before_coordinator_cpu_s": then.server_cpu,
    }


def _over_the_wire(crowd: Crowd, folder: Path, server: psutil.Process, sample: int) -> float:
    prepared = []
    for member in crowd.join(sample):
        stub = crowd.stub(member)
        module = folder / "wire" / stub.digest
        module.mkdir(parents=True)
        for name, data in stub.files.items():
            (module / name).write_bytes(data)
        prepared.append((member, module, stub, crowd.sign(member, stub)[1]))
    before = _cpu(server)
    for member, module, stub, envelope in prepared:
        endpoint = crowd.federation.endpoint
        with connect(endpoint, None, crowd.federation.trust, member.tls) as client:
            client.send_module(module, envelope, stub.entries)
    return 1000 * (_cpu(server) - before) / sample


def _verifying(crowd: Crowd, home: Path, sample: int) -> float:
    paths = sorted(_reopen(home).home.publications.glob("*.dsse"))[:sample]
    envelopes = [path.read_bytes() for path in paths]
    started = time.process_time()
    for envelope in envelopes:
        dsse.verify(envelope, crowd.federation.trust, (Role.SITE,), at=utc_now())
    return 1000 * (time.process_time() - started) / len(envelopes)


class _Plain:
    """A source that lists as all did before there were positions."""

    def __init__(self, relay: Any) -> None:
        self.list_statements, self.fetch_files = relay.list_statements, relay.fetch_files


def _without_positions(relay: Any) -> Any:
    return _Plain(relay)


def _as_it_is(relay: Any) -> Any:
    return relay


@contextmanager
def _costs(site: Site, server: psutil.Process) -> Iterator[tuple[Any, Cost]]:
    """Connect as the site, and count what is done in the block, connecting included."""
    cost = Cost()
    started, mine, theirs = time.perf_counter(), time.process_time(), _cpu(server)
    with open_relay(site) as relay:
        yield relay, cost
        cost.carried = relay.bytes_sent + relay.bytes_received
    cost.cpu = time.process_time() - mine
    cost.server_cpu = _cpu(server) - theirs
    cost.seconds = time.perf_counter() - started


def _reopen(folder: Path) -> Site:
    from client_agent.home import Home
    from client_agent.site import open_site

    return open_site(Home(folder))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
