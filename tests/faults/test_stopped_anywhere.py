"""Ctrl-C and SIGTERM between any two calls: they end the work, and nobody is judged by them.

The sweeps are exhaustive over the main thread's calls of functions (each, or one in so many), which
is where Python looks for signals; they need no luck with timing.
"""

import gc
import signal
import sys
import threading
import time

import grpc
import pytest

from client_agent.home import Home
from client_agent.registry.refusals import refusals, remember_refusal
from client_agent.relay.channel import connect
from client_agent.relay.retrying import Attempts
from ff_protocol import dsse, stopping
from ff_protocol.clock import utc_now
from ff_protocol.names import Role
from ff_protocol.stopping import held, listen_for_stop, stop_requested
from tests.federation import make_federation, make_module

LATE_SECONDS = 0.2


@pytest.fixture(autouse=True)
def listening(monkeypatch):
    """Stops are listened for, as in a command, and forgotten afterwards."""
    monkeypatch.setattr(stopping, "_requested", False)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    listen_for_stop()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop():
    signal.raise_signal(signal.SIGTERM)


def stopped_at(call, work):
    """Do `work`; a stop comes at its n-th call of a function. Whether it came to that."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1
            if calls == call:
                sys.setprofile(None)
                stop()

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
        if calls < call:
            raise KeyboardInterrupt
        # It was lost in a finaliser, and comes again.
        time.sleep(LATE_SECONDS)
    return calls >= call


def sweep(work, stride=1, seconds=10):
    """Stop `work` at each of its calls, one after the other; return how many there were."""
    call = 1
    while True:
        began = time.monotonic()
        reached = stopped_at(call, work)
        assert time.monotonic() - began < seconds, f"stopped at call {call}"
        if not reached:
            return call
        call += stride


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation")) as running:
        yield running


def test_a_stop_is_never_taken_for_a_signature_that_does_not_hold(federation):
    _, envelope = federation.site("one").revocation(site="one")

    def verify():
        dsse.verify(envelope, federation.trust, (Role.SITE,), at=utc_now())

    assert sweep(verify, stride=3) > 1000


def test_a_stop_ends_every_use_of_the_connection_and_leaves_no_threads(federation, tmp_path):
    site = federation.site("two")
    module = make_module(tmp_path / "module", 10_000)
    publication, envelope = site.publication_of(module)

    def use():
        attempts = Attempts(patience_seconds=60)
        with connect(
            federation.endpoint, None, federation.trust, site.tls, attempts=attempts
        ) as relay:
            relay.send_module(module, envelope, dict(publication.files))
            assert envelope in list(relay.list_statements(set()))
            relay.fetch_files(publication, tmp_path / "fetched")
            for _ in relay.watch(60):
                break

    threads = threading.active_count()
    assert sweep(use, stride=29) > 1000
    gc.collect()
    deadline = time.monotonic() + 10
    # A stop in the very call that ends a reading thread may leave that one.
    while threading.active_count() > threads + 3:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.05)


def test_a_stop_is_not_lost_where_grpc_finalises_a_channel(federation, monkeypatch):
    calls = 0

    def unsubscribe(channel):
        nonlocal calls
        calls += 1
        if calls == 2:  # closing calls it first, then the finaliser, which swallows everything
            stop()

    monkeypatch.setattr(grpc._channel.Channel, "_unsubscribe_all", unsubscribe)
    site = federation.site("three")
    with (
        pytest.raises(KeyboardInterrupt),
        connect(federation.endpoint, None, federation.trust, site.tls),
    ):
        pass
    assert calls == 2


def test_what_is_held_goes_on_to_its_end():
    done = []
    with pytest.raises(KeyboardInterrupt), held:  # noqa: PT012
        with held:
            stop()
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with held:
        done.append("later")  # a stop is raised once


def test_a_fault_in_what_is_held_gives_way_to_the_stop():
    @held
    def judge():
        stop()
        raise ValueError("forged")

    with pytest.raises(KeyboardInterrupt):
        judge()


def test_what_is_held_in_another_thread_delays_nothing():
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with held:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    with pytest.raises(KeyboardInterrupt):
        stop()
    leave.set()
    thread.join()


def test_a_stop_that_is_lost_in_a_finaliser_comes_again():
    class Finalised:
        def __del__(self):
            stop()

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        Finalised()
        time.sleep(10)
    assert stop_requested()


def test_other_faults_in_finalisers_are_still_told(capsys):
    class Finalised:
        def __del__(self):
            raise ValueError("a fault of its own")

    Finalised()
    assert "a fault of its own" in capsys.readouterr().err


def test_nothing_is_refused_once_a_stop_was_asked_for(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        stop()
    with pytest.raises(KeyboardInterrupt):
        remember_refusal(home, "0" * 64, "its worker was killed by the same Ctrl-C")
    assert refusals(home) == {}
