"""A worker of the local engine: a process that carries out orders until the agent hangs up."""

import threading
from queue import SimpleQueue

from client_agent.engines.helper import listen
from client_agent.engines.work import carry_out


def main(descriptor: int) -> None:
    """Serve; never returns. What comes is an order, or None: the job at work shall stop."""
    orders: SimpleQueue[bytes] = SimpleQueue()
    stop = threading.Event()

    def take(word: bytes | None) -> None:
        if word is None:
            stop.set()
        else:
            orders.put(word)

    send = listen(descriptor, take)
    while True:
        carry_out(orders.get(), send, stop)
