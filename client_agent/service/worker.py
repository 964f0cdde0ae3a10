"""The process that does heavy work: it sinks its priority, then runs one command of `ff-agent`.

One line of standard input says what to do (heavy.Order); the end of standard input stops it.
"""

import os
import signal
import threading

from client_agent.service.heavy import Order


def main() -> None:
    """Do the work that standard input orders."""
    line = _read_line()
    if not line.endswith(b"\n"):
        return
    order = Order.from_line(line)
    threading.Thread(target=_stop_at_the_end, name="orders", daemon=True).start()
    os.setpriority(
        os.PRIO_PROCESS, 0, max(order.nice, os.getpriority(os.PRIO_PROCESS, 0))
    )  # never up: that takes a privilege
    if order.gpu_memory is not None:
        limit_gpu_memory(order.gpu_memory)
    from client_agent.cli import main as agent

    agent(order.arguments, prog_name="ff-agent")


def limit_gpu_memory(share: float) -> None:
    """Take at most this share of each GPU's memory: beyond it torch reports that memory ran out."""
    import torch

    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(share, device)


def _read_line() -> bytes:
    # Past Python's buffer: a thread that waits in it at the end of the process is fatal to it.
    line = b""
    while not line.endswith(b"\n") and (data := os.read(0, 1)):
        line += data
    return line


def _stop_at_the_end() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
