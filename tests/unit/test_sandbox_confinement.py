"""What a confined process can still reach: nothing, by each layer alone and by all together."""

import errno
import socket
import struct

import pytest

from client_agent.sandbox.confinement import ALL_LAYERS, Layer
from client_agent.sandbox.seccomp import build_filter
from tests.confined import escape

FILES = {"read a file", "write a file", "list a folder", "make a folder", "delete a file"}
NETWORK = {"make a socket", "make a pair of sockets", "connect", "connect anew", "listen"}
OTHERS = {"make a process", "start a program", "signal the agent", "trace the agent"}
MEMORY = {"map code", "share memory", "make a file in memory"}
DESCRIPTORS = {"read a file", "write a file", "list a folder", "make a socket", "connect anew"}

DENIED = {
    Layer.LIMITS: DESCRIPTORS | {"make a file in memory", "take memory", "raise a limit"},
    Layer.NAMESPACES: {"connect anew"},
    Layer.LANDLOCK: FILES | {"connect", "connect anew", "listen"},
    Layer.SECCOMP: FILES | NETWORK | OTHERS | MEMORY | {"raise a limit"},
    ALL_LAYERS: FILES | NETWORK | OTHERS | MEMORY | {"take memory", "raise a limit"},
}


@pytest.fixture(scope="module")
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("wanted", DENIED, ids=lambda layers: layers.name or "all")
def test_each_layer_denies_what_it_is_for(wanted, tmp_path, listening):
    report = escape(wanted, tmp_path, listening)
    in_force = Layer(int(report.pop("layers")))
    if in_force != wanted:
        pytest.skip(f"this machine has no {(wanted & ~in_force)!r}")
    assert {name for name, outcome in report.items() if outcome != "allowed"} >= DENIED[wanted]
    left = {entry.name for entry in tmp_path.iterdir()}
    if wanted & (Layer.LANDLOCK | Layer.SECCOMP):
        assert left == {"existing"}


def test_without_any_layer_every_attempt_would_succeed(tmp_path, listening):
    """The attempts themselves are sound: what the others deny is denied by the layers."""
    report = escape(Layer(0), tmp_path, listening)
    assert report.pop("layers") == "0"
    privileged = {"trace the agent", "raise a limit"}  # given up by every confined process
    assert {name for name, outcome in report.items() if outcome != "allowed"} <= privileged


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_denies_what_it_does_not_name(machine):
    """Run the program as the kernel would, on system calls of both architectures."""
    code = build_filter(machine, process=77)
    numbers = {
        # name: (x86-64, aarch64, arguments, answer)
        "read": (0, 63, (3, 0, 0), "allow"),
        "openat": (257, 56, (0, 0, 0), "EPERM"),
        "socket": (41, 198, (2, 1, 0), "EPERM"),
        "execve": (59, 221, (0, 0, 0), "EPERM"),
        "io_uring_setup": (425, 425, (1, 0, 0), "EPERM"),
        "clone of a process": (56, 220, (17, 0, 0), "EPERM"),
        "clone of a thread": (56, 220, (0x3D0F00, 0, 0), "allow"),
        "clone3": (435, 435, (0, 0, 0), "ENOSYS"),
        "mmap": (9, 222, (0, 4096, 3, 0x22), "allow"),
        "mmap of code": (9, 222, (0, 4096, 5, 0x22), "EPERM"),
        "shared mmap": (9, 222, (0, 4096, 3, 0x21), "EPERM"),
        "mprotect": (10, 226, (0, 4096, 3), "allow"),
        "mprotect to code": (10, 226, (0, 4096, 7), "EPERM"),
        "abort": (234, 131, (77, 78, 6), "allow"),
        "signal to another": (234, 131, (1, 1, 9), "EPERM"),
        "prctl": (157, 167, (22, 0, 0), "EPERM"),
        "prlimit": (302, 261, (0, 7, 0), "EPERM"),
    }
    column = ("x86_64", "aarch64").index(machine)
    audit = (0xC000003E, 0xC00000B7)[column]
    for name, row in numbers.items():
        assert _run(code, row[column], audit, row[2]) == row[3], name
    assert _run(code, numbers["read"][column], audit ^ 1, (0,)) == "kill"


def _run(code: bytes, number: int, architecture: int, arguments: tuple[int, ...]) -> str:
    """A little interpreter of classic BPF for the instructions in use."""
    words = {0: number, 4: architecture}
    words |= {16 + 8 * index: value for index, value in enumerate(arguments)}
    position, accumulator = 0, 0
    while True:
        operation, if_true, if_false, value = struct.unpack_from("=HBBI", code, 8 * position)
        position += 1
        if operation == 0x20:
            accumulator = words.get(value, 0) & 0xFFFFFFFF
        elif operation == 0x15:
            position += if_true if accumulator == value else if_false
        elif operation == 0x45:
            position += if_true if accumulator & value else if_false
        else:
            assert operation == 0x06
            if value == 0x7FFF0000:
                return "allow"
            return "kill" if value == 0x80000000 else errno.errorcode[value & 0xFFFF]
