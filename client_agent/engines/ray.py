"""The Ray engine, as the process that owns the home sees it.

Ray ends the process that has joined a cluster when that cluster is lost, and changes its signals,
threads and logs. So another process joins (`ray_driver.py`), and this one has a line to it: a lost
cluster is a line that ends, and one line of text.
"""

import importlib.util
import os
import pickle
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from client_agent.engines.dispatch import dispatch
from client_agent.engines.engine import Events, Job, Watcher
from client_agent.engines.helper import Helper
from client_agent.engines.messages import Message
from client_agent.engines.work import sweep
from client_agent.errors import NetworkError, UsageError
from ff_protocol.errors import FederatedFactoryError

_PREFIX = "ff-ray-"
_LOOK_SECONDS = 0.2
_ANSWER_SECONDS = 10.0
_JOIN_SECONDS = 60.0
_START_SECONDS = 300.0
_END_SECONDS = 20.0
_AGAIN = "run the same command again: what was kept is here, and work goes on from there"


@dataclass(frozen=True)
class RayOrder:
    """What the driver is told first.

    Attributes:
        address: HOST:PORT of the head, or `auto`; None: start Ray on this machine.
        folder: for Ray's own files where it is started here; its path is short.
        threads: processors that a job takes.
        device: `cpu`, `cuda` or `auto`.
        workers: jobs at a time at most.
        local_slots, local_gpus: jobs at a time and GPUs, where Ray is started here.
    """

    address: str | None
    folder: str | None
    threads: int
    device: str
    workers: int | None
    local_slots: int
    local_gpus: int


@dataclass(frozen=True)
class Ready:
    """The driver's first answer: so many jobs at a time."""

    slots: int


class RayEngine:
    """Carries out jobs on a Ray cluster.

    Args:
        address: as `EngineOptions.ray_address`, without the environment's.
        threads: processors that a job takes.
        device: `cpu`, `cuda` or `auto`.
        workers: jobs at a time at most.
        local_slots: jobs at a time, where Ray is started here.
        local_gpus: GPUs of this machine.

    Raises:
        UsageError: ray is not installed, or the address is none.
        NetworkError: nothing answers at the address.
    """

    one_by_one = False
    shares_disk = False

    def __init__(
        self,
        address: str | None,
        threads: int,
        device: str,
        workers: int | None,
        local_slots: int,
        local_gpus: int,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UsageError(
                "the engine ray needs the package ray",
                hint="pip install 'federated-factory[agent,ray]', or leave out --engine ray",
            )
        check_address(address)
        self.threads = threads
        self._order = RayOrder(address, None, threads, device, workers, local_slots, local_gpus)

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Events:
        """See `engine.Engine`."""
        yield from dispatch(jobs, _Cluster(self._order), watcher)


def check_address(address: str | None) -> None:
    """Try whether anything listens where a cluster's head is said to be.

    Raises:
        UsageError: not of the form HOST:PORT.
        NetworkError: nothing listens.
    """
    if address is None or address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 1 << 16) or "/" in host:
        raise UsageError(
            f"--ray-address {address!r} is not HOST:PORT",
            hint="give the address that `ray start --head` printed, for example head:6379",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        raise NetworkError(
            f"no Ray head answers at {address}: {error.strerror or error}",
            hint="start it (ray start --head), or correct --ray-address or RAY_ADDRESS",
        ) from error


class _Cluster:
    """A crew on a Ray cluster, by way of the driver process."""

    def __init__(self, order: RayOrder) -> None:
        self._where = order.address or "this machine"
        self._folder: Path | None = None
        self.size = 0
        environment = {}
        if order.address is None:
            self._folder = _short_folder()
            # Ray opens its folder to all, so it gets one inside.
            order = replace(order, folder=str(self._folder / "r"))
            environment = local_environment()
        self._helper = Helper("client_agent.engines.ray_driver", environment)
        try:
            self._helper.send(order)
            self.size = self._wait(_START_SECONDS if order.address is None else _JOIN_SECONDS)
        except BaseException:
            self.close()
            raise

    def _wait(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while not self._helper.line.poll(_LOOK_SECONDS):
            if time.monotonic() > deadline:
                raise NetworkError(
                    f"Ray at {self._where} has not answered within {seconds:.0f} s",
                    hint="is it Ray's head that listens there? see: ray status",
                )
        answer = self._receive()
        if not isinstance(answer, Ready):
            raise self._lost(f"it answered {type(answer).__name__}")
        return answer.slots

    def begin(self, slot: int, order: bytes) -> None:
        """See `dispatch.Crew`."""
        self._helper.send((slot, order))

    def messages(self) -> list[tuple[int, Message]]:
        """See `dispatch.Crew`."""
        found = []
        patience = _LOOK_SECONDS
        while self._helper.line.poll(patience):
            slot, message = self._receive()
            found.append((slot, pickle.loads(message)))  # noqa: S301 - from a worker of ours
            patience = 0.0
        return found

    def stop(self) -> None:
        """See `dispatch.Crew`."""
        self._helper.send("stop")

    def rest(self, slot: int) -> None:
        """See `dispatch.Crew`; its processors and GPU are the cluster's again."""
        self._helper.send(("rest", slot))

    def close(self) -> None:
        """See `dispatch.Crew`."""
        self._helper.send("end")
        # What is starting or joining has nothing to put away.
        self._helper.end(patience=_END_SECONDS if self.size else 0.0)
        sweep()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _receive(self) -> Any:
        try:
            answer = self._helper.receive()
        except EOFError:
            raise self._lost(f"its driver ended, {self._helper.end(patience=5)}") from None
        if isinstance(answer, FederatedFactoryError):
            raise answer
        return answer

    def _lost(self, reason: str) -> NetworkError:
        return NetworkError(f"the Ray cluster at {self._where} was lost: {reason}", hint=_AGAIN)


def local_environment() -> dict[str, str]:
    """Settings of a Ray that is started here: for this user, on this machine, for now."""
    return {
        # Listen on the loopback interface alone.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Other users of this machine reach that as well: they need a token that they cannot read.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.urandom(32).hex(),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        # Processes for calls that are never made.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # As the local engine's: Ray would have its workers wait for everything else.
        "RAY_worker_niceness": "0",
        "OMP_WAIT_POLICY": "passive",
    }


def _short_folder() -> Path:
    """Make a private folder whose path leaves room for a socket's in 107 bytes."""
    sweep(_PREFIX)
    short = Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of its own in it, mode 0700
    base = short if os.access(short, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
