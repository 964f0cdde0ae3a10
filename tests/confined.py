"""A program that confines itself as a worker does and then tries to get out: run as a process.

Prints one JSON object: `layers` in force, and for each attempt `allowed` or the error's name.
Arguments: the layers wanted (a sum), a folder it may write to, a port that listens on loopback.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from client_agent.sandbox.confinement import Layer, confine
from ff_protocol.limits import MIB

ROOT = Path(__file__).parent.parent


def escape(layers: Layer, folder: Path, port: int) -> dict[str, str]:
    """Run this file; return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.confined", str(int(layers)), str(folder), str(port)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stdout, done.stderr
    report: dict[str, str] = json.loads(done.stdout)
    return report


def main(wanted: int, folder: Path, port: int) -> None:
    """Confine, try, report."""
    (folder / "existing").write_text("x")
    internet, server = socket.socket(), socket.socket()
    parent = os.getppid()
    library = ctypes.CDLL(None, use_errno=True)
    report = {"layers": str(int(confine(256 * MIB, 60, 1, Layer(wanted))))}

    def child() -> None:
        if os.fork() == 0:
            os._exit(0)
        os.wait()

    def start_program() -> None:
        # In this process: if it were permitted there would be no report.
        os.execv("/bin/true", ["true"])

    def map_pages(**how: int) -> None:
        mmap.mmap(-1, 4096, **how).close()

    def trace() -> None:
        # PTRACE_SEIZE, which does not stop the other; it ends with this process.
        if library.ptrace(0x4206, parent, None, None) != 0:
            raise OSError(ctypes.get_errno(), "")

    def raise_limit() -> None:
        for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA):
            resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    attempts: dict[str, Callable[[], object]] = {
        "read a file": lambda: os.open(folder / "existing", os.O_RDONLY),
        "write a file": lambda: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
        "list a folder": lambda: list(folder.iterdir()),
        "make a folder": lambda: (folder / "made").mkdir(),
        "delete a file": lambda: (folder / "existing").unlink(),
        "make a socket": socket.socket,
        "make a pair of sockets": socket.socketpair,
        "connect": lambda: internet.connect(("127.0.0.1", port)),
        "connect anew": lambda: socket.socket().connect(("127.0.0.1", port)),
        "listen": lambda: server.bind(("127.0.0.1", 0)),
        "make a file in memory": lambda: os.memfd_create("x"),
        "make a process": child,
        "signal the agent": lambda: os.kill(parent, 0),
        "trace the agent": trace,
        "raise a limit": raise_limit,
        "map code": lambda: map_pages(prot=mmap.PROT_READ | mmap.PROT_EXEC),
        "share memory": lambda: map_pages(flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
        "take memory": lambda: bytearray(512 * MIB),
    }
    if Layer(wanted) & Layer.SECCOMP:
        attempts["start a program"] = start_program
    for name, attempt in attempts.items():
        report[name] = outcome(attempt)
    sys.stdout.write(json.dumps(report))
    sys.stdout.flush()


def outcome(attempt: Callable[[], object]) -> str:
    """How an attempt ends."""
    try:
        attempt()
    except MemoryError:
        return "ENOMEM"
    except ValueError:  # setrlimit above the hard limit
        return "EPERM"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "allowed"


if __name__ == "__main__":
    signal.alarm(60)
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
