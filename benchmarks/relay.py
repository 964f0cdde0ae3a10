"""The relay's speed and cost, in proportion to what the same wire does without it."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import wire
from benchmarks.fan_out import cost_of, exchange
from benchmarks.flower import measure_round
from benchmarks.modules import random_module
from client_agent.relay.channel import connect
from ff_protocol.certificates import chain_to_pem, key_to_pem
from ff_protocol.limits import CHUNK_BYTES, MIB
from tests.federation import SPEC, Member, TestFederation, make_federation
from tests.transfer import write_credentials

GIB = 1024 * MIB
GOAL = 0.7
ROUNDS_OF_AVERAGING = 200


@dataclass(frozen=True)
class Row:
    """One figure. `goal` is empty where none was set."""

    figure: str
    value: float | int | str
    unit: str
    goal: str = ""


def measure(*, quick: bool) -> list[Row]:
    """Throughput against bare gRPC and TLS, CPU per GiB, cost by sites, and Flower beside it."""
    size = (48 if quick else 128) * MIB
    repeats = 2 if quick else 5
    policy = {"max_module_bytes": 2 * GIB}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with make_federation(folder, SPEC | {"policy": policy}) as federation:
            site = federation.site("hospital-1")
            certificates = _certificates(federation, site, folder / "certificates")
            rows = _throughput(federation, site, certificates, folder, size, repeats)
        place = folder / "exchange"
        place.mkdir()
        with make_federation(place) as federation:
            rows += _exchange(federation, certificates, quick=quick)
        counts = (5, 20) if quick else (10, 32, 100, 316, 1000)
        for sites in counts:
            place = folder / f"sites-{sites}"
            place.mkdir()
            with make_federation(place) as federation:
                cost = cost_of(federation, sites, 64 * 1024)
            rows += [
                Row(
                    f"{sites} sites: coordinator's CPU a publishing site", cost.publish_cpu_ms, "ms"
                ),
                Row(f"{sites} sites: coordinator's CPU a module fetched", cost.late_cpu_ms, "ms"),
                Row(f"{sites} sites: connect, send and publish", cost.publish_wall_ms, "ms"),
            ]
    return rows


def _certificates(federation: TestFederation, site: Member, folder: Path) -> Path:
    """Write the PEM files that the bare servers and Flower need."""
    write_credentials(folder, site, b"")
    own = federation.home.credential("server")
    (folder / "server.pem").write_bytes(chain_to_pem(own.chain))
    (folder / "server.key").write_bytes(key_to_pem(own.key))
    return folder


def _throughput(
    federation: TestFederation,
    site: Member,
    certificates: Path,
    folder: Path,
    size: int,
    repeats: int,
) -> list[Row]:
    """Take turns, so that whatever else the machine does falls on all alike; take medians."""
    pieces = size // CHUNK_BYTES
    server = psutil.Process(federation.servers[-1].process.pid)
    taken: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}

    def timed(label: str, pid: int, work: Callable[[], object]) -> None:
        process = psutil.Process(pid)
        before, started = _cpu(process), time.perf_counter()
        work()
        taken.setdefault(label, []).append(size / MIB / (time.perf_counter() - started))
        cpu.setdefault(label, []).append((_cpu(process) - before) * GIB / size)

    with (
        wire.running("grpc", certificates) as (grpc_port, grpc_pid),
        wire.running("tls", certificates) as (tls_port, tls_pid),
    ):
        for number in range(repeats):
            module = random_module(folder / f"module-{number}", size)
            publication, envelope = site.publication_of(module)
            target = folder / f"fetched-{number}"
            with connect(federation.endpoint, None, federation.trust, site.tls) as client:
                for label, port, pid, copy in (
                    ("grpc", grpc_port, grpc_pid, wire.copy_over_grpc),
                    ("tls", tls_port, tls_pid, wire.copy_over_tls),
                ):
                    for up in (True, False):
                        way = "up" if up else "down"
                        timed(
                            f"{label} {way}",
                            pid,
                            lambda copy=copy, port=port, up=up: copy(
                                port, certificates, pieces, up=up
                            ),
                        )
                timed(
                    "relay up",
                    server.pid,
                    lambda c=client, m=module, e=envelope, p=publication: c.send_module(
                        m, e, p.files
                    ),
                )
                timed(
                    "relay down",
                    server.pid,
                    lambda c=client, p=publication, t=target: c.fetch_files(p, t),
                )
            for path in (module, target):
                for file in path.iterdir():
                    file.unlink()
    rows = []
    for way, word in (("up", "upload"), ("down", "download")):
        relay, bare, plain = (
            statistics.median(taken[f"{kind} {way}"]) for kind in ("relay", "grpc", "tls")
        )
        ratios = [
            mine / base
            for mine, base in zip(taken[f"relay {way}"], taken[f"grpc {way}"], strict=True)
        ]
        rows += [
            Row(f"{word}: relay", relay, "MiB/s"),
            Row(f"{word}: bare gRPC stream", bare, "MiB/s"),
            Row(f"{word}: plain TLS socket", plain, "MiB/s"),
            Row(f"{word}: relay / bare gRPC", statistics.median(ratios), "", f">= {GOAL}"),
            Row(f"{word}: relay / plain TLS", relay / plain, ""),
        ]
        rows += [
            Row(
                f"{word}: CPU of both sides, {label}",
                statistics.median(cpu[f"{kind} {way}"]),
                "s/GiB",
            )
            for kind, label in (("relay", "relay"), ("grpc", "bare gRPC"), ("tls", "plain TLS"))
        ]
    return rows


def _cpu(other: psutil.Process) -> float:
    own, theirs = os.times(), other.cpu_times()
    return float(own.user + own.system + theirs.user + theirs.system)


def _exchange(federation: TestFederation, certificates: Path, *, quick: bool) -> list[Row]:
    """Eight sites, eight modules of 4 MiB, against one round of Flower with eight clients."""
    sites = 3 if quick else 8
    module_bytes = 4 * MIB
    ours = exchange(federation, sites, module_bytes)
    rows = [
        Row(f"{sites} sites exchange {sites} modules of 4 MiB", ours.seconds, "s"),
        Row("its bytes, all sites", ours.bytes_on_wire, "bytes"),
    ]
    flower = None if quick else measure_round(certificates, sites, sites)
    if flower is None:
        return rows
    averaging = 2 * sites * flower.parameter_bytes * ROUNDS_OF_AVERAGING
    return [
        *rows,
        Row(f"one round of averaging, Flower {flower.version}, no training", flower.seconds, "s"),
        Row("exchange / one round", ours.seconds / flower.seconds, ""),
        Row("parameters of the classifier", flower.parameter_bytes, "bytes"),
        Row(f"bytes of {ROUNDS_OF_AVERAGING} rounds, all sites", averaging, "bytes"),
        Row(f"exchange / {ROUNDS_OF_AVERAGING} rounds, bytes", ours.bytes_on_wire / averaging, ""),
    ]
