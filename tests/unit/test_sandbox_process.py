"""Workers: same bits as without, and whatever a module does costs that process only."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from client_agent.errors import RefusedError, ResourceError
from client_agent.registry.modules import own_modules
from client_agent.sandbox import launching, layers
from client_agent.sandbox.confinement import ALL_LAYERS, Layer
from client_agent.sandbox.limits import Limits, limits_for
from client_agent.sandbox.process import ModelProcess
from client_agent.sandbox.worker import Order
from client_agent.synthesis.session import ModuleSession
from ff_protocol.limits import MIB
from tests.unit.test_synthesis import A, module_file, spec

SHAPE = (8, 1, 8, 8)
BRIEF = Limits(load_seconds=5, batch_seconds=0.5, stall_seconds=30, memory_bytes=256 * MIB)


@pytest.fixture
def model(tmp_path):
    return module_file(tmp_path / "module.onnx", "Sigmoid")


def slow_file(path: Path, trips: int = 10**9) -> Path:
    """A module that turns for ever; admission refuses its trip count, the sandbox its time."""
    image = ["n", 1, 8, 8]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, image),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, image),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "noise"], ["image"], body=body)],
        "slow",
        [helper.make_tensor_value_info("noise", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(np.int64(trips), "trips")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    return path


def test_the_bits_are_those_of_onnxruntime_in_this_process(sites, authority):
    import onnxruntime as ort

    from client_agent.synthesis.noise import noise, noise_key

    (folder,) = own_modules(sites["hospital-1"].home).values()
    model, federation_spec = folder / "module.onnx", authority.spec
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    here = ort.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    key = noise_key(A, federation_spec.synthesis_digest("f"), "f")
    changes = {"synthesis": federation_spec.synthesis.model_copy(update={"threads": 3})}
    for threads in (federation_spec, federation_spec.model_copy(update=changes)):
        with ModuleSession(model, A, threads, "f") as session:
            key = noise_key(A, threads.synthesis_digest("f"), "f")
            for index, images in enumerate(session.run_batches(range(5))):
                batch = noise(key, 16 * index, 16, session.shape)
                (expected,) = here.run(["image"], {"noise": batch})
                assert images.tobytes() == expected.tobytes()


def test_a_worker_has_nothing_but_its_lanes(model):
    if sys.platform != "linux":
        pytest.skip("looks into /proc")
    with ModuleSession(model, A, spec(), "f") as session:
        worker = Path("/proc") / str(session._process.pid)
        lines = (line.partition(":") for line in (worker / "status").read_text().splitlines())
        status = {name: value.split() for name, _, value in lines}
        assert status["NoNewPrivs"] == ["1"]
        assert int(status["CapEff"][0], 16) == 0
        if Layer.SECCOMP in session._process.layers:
            assert status["Seccomp"] == ["2"]
        if Layer.NAMESPACES in session._process.layers:
            assert (worker / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
        open_files = {str(entry.readlink()) for entry in (worker / "fd").iterdir()}
        assert {name.partition(":")[0] for name in open_files} == {"/dev/null", "socket"}
        environment = (worker / "environ").read_bytes()
        for name in (b"HOME=", b"PATH=", b"FF_", b"PYTHON"):
            assert name not in environment
        assert os.getsid(session._process.pid) != os.getsid(0)


def test_a_module_that_computes_for_ever_is_ended(tmp_path):
    with ModuleSession(slow_file(tmp_path / "m.onnx"), A, spec(), "f", BRIEF) as session:
        started = time.process_time()
        with pytest.raises(RefusedError, match=r"took longer than 0\.5 s of computing"):
            session.run_batch(0)
        assert time.process_time() - started < 1  # the agent only waits


def test_a_module_that_only_waits_is_ended(model):
    limits = Limits(load_seconds=5, batch_seconds=5, stall_seconds=1, memory_bytes=256 * MIB)
    with ModuleSession(model, A, spec(), "f", limits) as session:
        os.kill(session._process.pid, signal.SIGSTOP)
        with pytest.raises(RefusedError, match="took longer than 1 s for an answer"):
            session.run_batch(0)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGSEGV, r"crashed the runtime \(signal 11\)"),
        (signal.SIGABRT, r"crashed the runtime \(signal 6\)"),
        (signal.SIGKILL, "needed more memory than 256 MiB"),
        (signal.SIGXCPU, "took longer than 86400 s of computing"),
    ],
)
def test_how_a_worker_died_is_told(model, number, reason):
    with ModelProcess(SHAPE, BRIEF, 1) as worker:
        worker.load(model)
        os.kill(worker.pid, number)
        for _ in range(2):  # and again for whoever asks later
            with pytest.raises(RefusedError, match=reason):
                worker.run(np.zeros(SHAPE, np.float32))


def test_a_session_that_is_dropped_ends_its_worker(model):
    session = ModuleSession(model, A, spec(), "f")
    pid = session._process.pid
    del session
    assert not psutil.pid_exists(pid)


def test_a_batch_that_fails_ends_the_others_at_once(tmp_path):
    started = time.monotonic()
    two = spec(synthesis={"samples_per_class": 50, "batch_size": 8, "threads": 2})
    patient = Limits(load_seconds=60, batch_seconds=60, stall_seconds=60, memory_bytes=256 * MIB)
    session = ModuleSession(slow_file(tmp_path / "m.onnx"), A, two, "f", patient)
    batches = session.run_batches(iter([0, 1]))

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(batches)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not psutil.pid_exists(session._process.pid)
    assert time.monotonic() - started < 40


KILLED = """
import os, signal, sys
from pathlib import Path
from client_agent.synthesis.session import ModuleSession
from tests.unit.test_synthesis import A, spec
session = ModuleSession(Path(sys.argv[1]), A, spec(), "f")
print(session._process.pid, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
session.run_batch(0)
"""


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_worker_ends_with_its_agent(tmp_path, how):
    model = slow_file(tmp_path / "m.onnx")
    agent = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(model), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert agent.stdout is not None
    worker = psutil.Process(int(agent.stdout.readline()))
    if how == "interrupted":
        time.sleep(0.3)
        agent.send_signal(signal.SIGINT)
    agent.wait(30)
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running()


LIARS = {
    # What a worker says instead of an image, and what the agent makes of it.
    "half an image": ("out(b'\\x01' + bytes(1000))", "ended the runtime"),
    "no answer": ("", "ended the runtime"),
    "a word that is none": ("out(b'\\x63' + bytes(2048))", "fails when run"),
    "no memory": ("out(b'\\x04')", "needed more memory"),
    "too much": ("out(b'\\x01' + bytes(10**7))", None),
}


@pytest.mark.parametrize("lie", LIARS)
def test_a_worker_that_lies_costs_nothing(model, monkeypatch, lie):
    action, reason = LIARS[lie]
    _start_instead(
        monkeypatch,
        "import socket, sys, json; lane = socket.socket(fileno=json.loads(sys.argv[1])['lanes'][0])"
        "\nout = lane.sendall"
        "\nout(b'\\x01\\x0f'); lane.recv(8); lane.recv(10**6); out(b'\\x01'); lane.recv(10**6)"
        f"\ntry:\n    {action or 'pass'}\nexcept OSError:\n    pass",
    )
    with ModelProcess(SHAPE, BRIEF, 1) as worker:
        worker.load(model)
        noise = np.zeros(SHAPE, np.float32)
        if reason is None:
            assert worker.run(noise).shape == SHAPE  # the rest stays in the socket
        else:
            with pytest.raises(RefusedError, match=reason):
                worker.run(noise)


def test_a_runtime_that_does_not_start_is_this_machines_fault(monkeypatch):
    _start_instead(monkeypatch, "raise SystemExit(3)")
    with pytest.raises(ResourceError, match=r"does not start: .* \(exit code 3\)"):
        ModelProcess(SHAPE, BRIEF, 1)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResourceError, match="No such file"):
        ModelProcess(SHAPE, BRIEF, 1)


def test_a_broken_installation_is_told_in_words(monkeypatch):
    _start_instead(
        monkeypatch,
        "import sys; sys.path[:] = sys.argv[2:]; sys.modules['onnxruntime'] = None\n"
        "from client_agent.sandbox.worker import main; main(sys.argv[1])",
    )
    with pytest.raises(ResourceError, match="import of onnxruntime halted") as caught:
        ModelProcess(SHAPE, BRIEF, 1)
    assert "doctor" in (caught.value.hint or "")


def _start_instead(monkeypatch, code: str) -> None:
    monkeypatch.setattr(launching, "_START", code)


def test_onnxruntime_reports_to_nobody(tmp_path):
    """Its telemetry would keep a device number in the home folder and start a thread."""
    done = subprocess.run(
        [sys.executable, "-c", "import client_agent, onnxruntime, threading, os\n"
         "print(len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 1)"],
        env={"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1"
    assert not list(tmp_path.rglob("*"))


def test_limits_grow_with_the_work():
    little, large = spec(), spec(image={"size": 128, "channels": 3})
    assert limits_for(little, 10**6).batch_seconds < 5
    assert limits_for(large, 10**3).batch_seconds < 5  # few weights, little work
    assert limits_for(large, 60 * 10**6).batch_seconds > 400
    assert limits_for(little, 10**8).memory_bytes > limits_for(little, 10**6).memory_bytes
    assert limits_for(large, 10**6).memory_bytes > limits_for(little, 10**6).memory_bytes


def test_an_order_survives_the_command_line():
    order = Order(7, (3, 5), SHAPE, 1, 2)
    assert Order.from_text(order.to_text()) == order


class Notes:
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.mark.parametrize(
    ("in_force", "sealed"),
    [
        (ALL_LAYERS, True),
        (ALL_LAYERS & ~Layer.NAMESPACES, True),
        (Layer.LIMITS | Layer.SECCOMP, True),
        (Layer.LIMITS | Layer.NAMESPACES, False),
        (Layer.SECCOMP, False),
        (Layer(0), False),
    ],
)
def test_a_missing_layer_is_told_once(monkeypatch, in_force, sealed):
    monkeypatch.setattr(layers, "_seen", in_force)
    monkeypatch.setattr(layers, "_told", False)
    notes = Notes()
    layers.note_missing(notes)
    layers.note_missing(notes)
    assert len(notes.lines) == (in_force != ALL_LAYERS)
    assert layers.keeps_everything_in(layers.layers_in_force()) is sealed
    assert len(layers.missing()) == 4 - len(list(in_force))


def test_the_layers_here_are_asked_of_a_real_worker(monkeypatch):
    monkeypatch.setattr(layers, "_seen", None)
    assert "limits" in layers.layers_in_force()


LESSER = """
import json
from client_agent.doctor.site import examine_sandbox
from client_agent.sandbox.layers import layers_in_force
from tests.lesser_kernel import forget_landlock_and_namespaces
forget_landlock_and_namespaces()
finding = examine_sandbox()
print(json.dumps({"layers": sorted(layers_in_force()), "ok": finding.ok, "found": finding.found}))
"""


def test_an_older_kernel_confines_with_what_it_has_and_says_so():
    if sys.platform != "linux" or Layer.SECCOMP not in ModelProcess(SHAPE, BRIEF, 1).layers:
        pytest.skip("needs seccomp, to take the other layers away")
    done = subprocess.run(
        [sys.executable, "-c", LESSER],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["layers"] == ["limits", "seccomp"]
    assert report["ok"]
    assert "lacks user and network namespaces" in report["found"]
    assert "Linux 5.13" in report["found"]
