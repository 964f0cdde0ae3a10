"""The process that joins a Ray cluster and passes orders and messages on.

The head is watched by connecting to it now and then: Ray itself waits a minute for one that is
gone, and then ends this process.
"""

import contextlib
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from client_agent.engines.helper import listen
from client_agent.engines.messages import Died
from client_agent.engines.placement import Node, cluster_slots
from client_agent.engines.ray import RayOrder, Ready
from client_agent.engines.ray_worker import RayWorker
from client_agent.engines.sealing import new_key, seal, unseal
from client_agent.errors import NetworkError, ResourceError
from ff_protocol import __version__
from ff_protocol.errors import FederatedFactoryError

_LOOK_SECONDS = 0.4
_WATCH_SECONDS = 2.0
_MISSES = 3
_STORE_BYTES = 1 << 30


def main(descriptor: int) -> None:
    """Serve until the agent says `end`."""
    words: SimpleQueue[Any] = SimpleQueue()
    send = listen(descriptor, words.put)
    order: RayOrder = words.get()
    try:
        slots, on_gpu = _join(order)
    except FederatedFactoryError as error:
        send(error)
        return
    except Exception as error:
        where = order.address or "on this machine"
        send(
            NetworkError(
                f"Ray cannot be used {where}: {_line(error)}",
                hint="the versions of ray and Python must be those of the cluster, and this "
                "machine one of its nodes: ray start --address HOST:PORT",
            )
        )
        return
    send(Ready(slots))
    threading.Thread(target=_watch_head, args=(order.address, send), daemon=True).start()
    _Driver(order, on_gpu, words, send).serve()
    import ray

    ray.shutdown()


def _join(order: RayOrder) -> tuple[int, bool]:
    """Join or start a cluster; return how many jobs it carries, and if each has a GPU."""
    import ray

    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "configure_logging": False,
        "include_dashboard": False,
    }
    if order.address is None:
        ray.init(
            address="local",
            num_cpus=order.local_slots * order.threads,
            num_gpus=order.local_gpus,
            object_store_memory=_STORE_BYTES,
            _temp_dir=order.folder,
            **quiet,
        )
    else:
        ray.init(address=order.address, **quiet)
    nodes = [
        Node(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in ray.nodes()
        if node["Alive"]
    ]
    slots, on_gpu = cluster_slots(nodes, order.threads, order.device, order.workers)
    if not slots:
        what = f"{order.threads} processors{' and a GPU' if on_gpu else ''}"
        raise ResourceError(
            f"no node of the Ray cluster offers a class {what}",
            hint="give fewer --threads, or another --device",
        )
    return slots, on_gpu


class _Driver:
    """Passes orders to actors, one a slot, and their messages back."""

    def __init__(
        self, order: RayOrder, on_gpu: bool, words: SimpleQueue[Any], send: Callable[[Any], None]
    ) -> None:
        import ray

        self._ray = ray
        self._actor = ray.remote(RayWorker).options(
            num_cpus=order.threads, num_gpus=int(on_gpu), max_concurrency=2, max_restarts=0
        )
        self._words, self._send = words, send
        self._key = new_key()
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}
        self._held: dict[int, Any] = {}

    def serve(self) -> None:
        """Work until told to end."""
        while True:
            with contextlib.suppress(Empty):
                # Without a question to wait for, wait for a word.
                patience = 0.0 if self._asked else _LOOK_SECONDS
                if self._obey(self._words.get(timeout=patience or 0.001)):
                    return
            if self._asked:
                ready, _ = self._ray.wait(list(self._asked), timeout=_LOOK_SECONDS)
                for question in ready:
                    self._pass_on(self._asked.pop(question), question)

    def _obey(self, word: Any) -> bool:
        if word == "end":
            return True
        if word == "stop":
            for slot in self._asked.values():
                self._actors[slot].stop.remote()
            return False
        first, second = word
        if first == "rest":
            if second not in self._asked.values() and second in self._actors:
                self._ray.kill(self._actors.pop(second))
            return False
        self._begin(first, second)
        return False

    def _begin(self, slot: int, order: bytes) -> None:
        if slot not in self._actors:
            self._actors[slot] = self._actor.remote()
        actor = self._actors[slot]
        pieces = [self._ray.put(piece) for piece in seal(order, self._key)]
        # Held until the order is carried out; the call itself is held for its fault.
        self._held[slot] = pieces, actor.begin.remote(self._key, pieces, __version__)
        self._asked[actor.messages.remote()] = slot

    def _pass_on(self, slot: int, question: Any) -> None:
        try:
            if self._ray.wait([self._held[slot][1]], timeout=0)[0]:
                self._ray.get(self._held[slot][1])
            sealed, last = self._ray.get(question)
        except self._ray.exceptions.RayError as error:
            self._actors.pop(slot, None)
            self._held.pop(slot, None)
            if "No module named 'client_agent'" in str(error):
                self._send(
                    ResourceError(
                        "a node of the Ray cluster has no federated-factory",
                        hint="install the same version on every node",
                    )
                )
                return
            self._send((slot, pickle.dumps(Died(type(error).__name__))))
            return
        for pieces in sealed:
            # As it is: to read it would take the libraries that made it.
            self._send((slot, unseal(pieces, self._key)))
        if last:
            self._held.pop(slot)
        else:
            self._asked[self._actors[slot].messages.remote()] = slot


def _watch_head(address: str | None, send: Callable[[Any], None]) -> None:
    import psutil  # where it is not installed, the one that ray brings with it
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    misses = 0
    # Agents of a Ray that has lost its head wait a minute for it before they end.
    started: set[psutil.Process] = set()
    while misses < _MISSES:
        started |= set(psutil.Process().children(recursive=True))
        time.sleep(_WATCH_SECONDS)
        try:
            socket.create_connection((host.strip("[]"), int(port)), _WATCH_SECONDS).close()
            misses = 0
        except OSError:
            misses += 1
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    where = address or "on this machine"
    send(
        NetworkError(
            f"the head of the Ray cluster {where} was lost",
            hint="run the same command again: each class goes on from its last checkpoint",
        )
    )
    os._exit(1)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
