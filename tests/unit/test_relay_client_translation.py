"""gRPC's words become one clear line and the right exit code."""

import contextlib

import grpc
import pytest

from client_agent.errors import NetworkError
from client_agent.relay.retrying import Attempts, retrying
from client_agent.relay.translation import translate
from ff_protocol.errors import ExitCode

TLS = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:1: Tls handshake "


class Fault(grpc.RpcError, grpc.Call):
    def __init__(self, code, details, **trailing):
        self._code, self._details, self._trailing = code, details, trailing

    def code(self):
        return self._code

    def details(self):
        return self._details

    def trailing_metadata(self):
        return tuple((name.replace("_", "-"), value) for name, value in self._trailing.items())


for _name in grpc.Call.__abstractmethods__ - {"code", "details", "trailing_metadata"}:
    setattr(Fault, _name, None)
Fault.__abstractmethods__ = frozenset()


@pytest.mark.parametrize(
    ("code", "details", "exit_code", "transient", "words"),
    [
        ("UNAVAILABLE", "connect: Connection refused (111)", 4, True, "connection refused"),
        ("UNAVAILABLE", "DNS resolution failed for h", 4, False, "cannot be resolved"),
        ("UNAVAILABLE", TLS + "CERTIFICATE_VERIFY_FAILED", 5, None, "not of this federation"),
        ("UNAVAILABLE", "Hostname Verification Check failed.", 5, None, "another name"),
        ("UNAVAILABLE", TLS + "WRONG_VERSION_NUMBER", 4, False, "does not speak TLS"),
        ("UNAVAILABLE", "Handshake read failed", 4, True, "does not answer"),
        ("UNAVAILABLE", "Socket closed", 4, True, "closed the connection"),
        ("UNAVAILABLE", "errors resolving h:1: Could not contact DNS servers", 4, True, "now"),
        ("UNAVAILABLE", "Handshake read failed (recvmsg:reset)", 4, True, "TLS handshake"),
        ("UNAVAILABLE", "HTTP proxy returned response code 407", 4, False, "user and password"),
        ("UNAVAILABLE", "HTTP proxy returned response code 503", 4, True, "503"),
        ("DEADLINE_EXCEEDED", "", 4, True, "does not answer"),
        ("UNIMPLEMENTED", "", 4, False, "another version"),
        ("RESOURCE_EXHAUSTED", "store is full", 4, True, "store is full"),
        ("INTERNAL", "boom", 4, True, "boom"),
        ("UNAUTHENTICATED", "for members", 5, None, "for members"),
        ("PERMISSION_DENIED", "used", 5, None, "used"),
        ("FAILED_PRECONDITION", "revoked", 6, None, "revoked"),
        ("INVALID_ARGUMENT", "malformed", 6, None, "malformed"),
        ("NOT_FOUND", "chunk", 4, False, "chunk"),
    ],
)
def test_each_status_has_its_line(code, details, exit_code, transient, words):
    error = translate(Fault(grpc.StatusCode[code], details), "relay.example.org:7443")
    assert error.exit_code == ExitCode(exit_code)
    assert "relay.example.org:7443" in error.message
    assert words in error.message + str(error.hint)
    assert "\n" not in error.message
    if transient is not None:
        assert error.transient is transient


def failing(times, transient=True):
    error = NetworkError("down")
    error.transient = transient
    faults = iter([error] * times)

    def work():
        fault = next(faults, None)
        if fault:
            raise fault
        return "done"

    return work


def test_waits_grow_and_are_bounded():
    waits = []
    attempts = Attempts(limit=12, base_seconds=1, cap_seconds=8, sleep=waits.append)
    assert retrying(failing(11), attempts) == "done"
    assert all(0 <= wait <= min(8, 2 ** (k + 1)) for k, wait in enumerate(waits))


def test_attempts_end():
    waits = []
    with pytest.raises(NetworkError):
        retrying(failing(9), Attempts(limit=3, sleep=waits.append))
    assert len(waits) == 2


def test_what_will_not_pass_is_not_tried_again():
    waits = []
    with pytest.raises(NetworkError):
        retrying(failing(1, transient=False), Attempts(sleep=waits.append))
    assert waits == []


def test_time_without_progress_decides_and_not_the_number_of_attempts():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds + 0.1

    attempts = Attempts(patience_seconds=60, sleep=sleep, clock=lambda: now[0])
    with pytest.raises(NetworkError):
        retrying(failing(10_000), attempts)
    assert 60 <= now[0] <= 61


def test_progress_renews_the_patience():
    now = [0.0]

    def sleep(seconds):
        now[0] += 20

    attempts = Attempts(patience_seconds=30, sleep=sleep, clock=lambda: now[0])
    for _ in range(10):
        attempts.failed(NetworkError("down"))
        attempts.progressed()
    assert now[0] == 200
    attempts.failed(NetworkError("down"))
    attempts.failed(NetworkError("down"))
    with pytest.raises(NetworkError):
        attempts.failed(NetworkError("down"))


def test_waits_are_spread_over_the_whole_range():
    waits = []
    attempts = Attempts(base_seconds=1, cap_seconds=4, patience_seconds=1e9, sleep=waits.append)
    for _ in range(400):
        with contextlib.suppress(NetworkError):
            attempts.failed(NetworkError("down"))
    late = waits[10:]
    assert min(late) < 1
    assert max(late) > 3


def test_progress_fills_the_budget_up_again():
    attempts = Attempts(limit=2, sleep=lambda seconds: None)
    for _ in range(10):
        attempts.failed(NetworkError("down"))
        attempts.progressed()


def test_a_limit_of_the_sites_own_is_final_unless_waiting_helps():
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    final = translate(Fault(code, "limit site-modules", x_limit="site-modules"), "h:1")
    assert final.exit_code == ExitCode.REFUSED
    assert "limit site-modules" in final.message
    passing = translate(Fault(code, "limit c", x_limit="c", x_again_after="0.5"), "h:1")
    assert isinstance(passing, NetworkError)
    assert passing.transient
