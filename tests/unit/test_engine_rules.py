"""How many jobs at a time and with what; what Ray's store sees; addresses and what is missing."""

import importlib.util
import socket

import pytest
from cryptography.exceptions import InvalidTag

from client_agent.commands.options import make_engine_options
from client_agent.engines.placement import (
    Node,
    Slot,
    cluster_slots,
    gpu_names,
    synthesis_slots,
    training_slots,
    usable_processors,
)
from client_agent.engines.ray import RayEngine, check_address, local_environment
from client_agent.engines.sealing import new_key, seal, unseal
from client_agent.errors import NetworkError, UsageError


def test_a_machine_of_few_processors_trains_one_class_with_all_of_them():
    for processors in (1, 2, 8, 15):
        assert training_slots(processors, (), None, None) == (Slot(None, None),)
    assert training_slots(2, (), None, 1) == (Slot(1, None),)


def test_processors_are_divided_between_the_classes_trained_at_once():
    assert training_slots(64, (), None, None) == (Slot(8, None),) * 8
    assert training_slots(20, (), None, None) == (Slot(10, None),) * 2
    assert training_slots(2, (), 2, None) == (Slot(1, None),) * 2
    assert training_slots(2, (), 4, None) == (Slot(1, None),) * 4
    assert training_slots(64, (), 2, 4) == (Slot(4, None),) * 2


def test_a_class_has_a_gpu_to_itself():
    assert training_slots(16, ("0", "1"), None, None) == (Slot(8, "0"), Slot(8, "1"))
    assert training_slots(16, ("0", "1"), 5, None) == (Slot(8, "0"), Slot(8, "1"))
    assert training_slots(16, ("0", "1"), 1, None) == (Slot(None, None),)
    assert training_slots(16, ("3",), None, None) == (Slot(None, None),)
    assert gpu_names(2, None) == ("0", "1")
    assert gpu_names(2, "5, GPU-ab") == ("5", "GPU-ab")
    assert gpu_names(1, "7,8") == ("7",)
    assert gpu_names(0, "") == ()


def test_synthesis_starts_no_process_that_is_not_worth_it():
    assert len(synthesis_slots(2, 2, None, 1000)) == 1
    assert len(synthesis_slots(64, 2, None, 8)) == 1
    assert len(synthesis_slots(64, 2, None, 80)) == 10
    assert len(synthesis_slots(8, 2, None, 1000)) == 4
    assert len(synthesis_slots(2, 2, 3, 1)) == 3


def test_a_cluster_carries_what_fits_on_its_nodes():
    plain, fast = Node(16, 0), Node(32, 4)
    assert cluster_slots([plain, plain], 8, "auto", None) == (4, False)
    assert cluster_slots([plain, fast], 8, "auto", None) == (4, True)
    assert cluster_slots([plain, fast], 8, "cpu", None) == (6, False)
    assert cluster_slots([plain, fast], 16, "cuda", None) == (2, True)
    assert cluster_slots([plain, fast], 8, "cpu", 3) == (3, False)
    assert cluster_slots([Node(4, 0)] * 9, 8, "auto", None) == (0, False)
    assert cluster_slots([plain], 8, "cuda", None) == (0, True)


def test_openmp_bounds_the_processors(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)))
    for said, count in (("1", 1), ("4,2", 4), ("9", 6), ("0", 6), ("many", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert usable_processors() == count
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert usable_processors() == 6


def test_what_lies_in_rays_store_is_sealed(monkeypatch):
    monkeypatch.setattr("client_agent.engines.sealing._PIECE", 10)
    key, data = new_key(), b"pixels of a patient"
    pieces = seal(data, key)
    assert len(pieces) == 2
    assert not any(data[at : at + 4] in b"".join(pieces) for at in range(len(data) - 4))
    assert unseal(pieces, key) == data
    assert unseal(seal(b"", key), key) == b""
    for bad in (pieces[::-1], pieces[:1], [pieces[0], pieces[1][:-1] + b"x"]):
        with pytest.raises(InvalidTag):
            unseal(bad, key)
    with pytest.raises(InvalidTag):
        unseal(pieces, new_key())


def test_a_wrong_address_is_one_line():
    for bad in ("head", "head:", ":1", "head:x", "ray://head:10001", "head:99999"):
        with pytest.raises(UsageError, match="is not HOST:PORT"):
            check_address(bad)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
    with pytest.raises(NetworkError, match=f"no Ray head answers at 127.0.0.1:{port}: Connection"):
        check_address(f"127.0.0.1:{port}")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package ray") as caught:
        RayEngine(None, 1, "cpu", None, 1, 0)
    assert "federated-factory[agent,ray]" in (caught.value.hint or "")


def test_an_address_goes_with_the_engine_that_has_one():
    values = {"engine": "local", "workers": None, "ray_address": "head:6379"}
    with pytest.raises(UsageError, match="goes with --engine ray"):
        make_engine_options(values)
    assert make_engine_options(values | {"engine": "ray"}).ray_address == "head:6379"


def test_every_ray_that_is_started_here_has_a_token_of_its_own():
    one, other = local_environment(), local_environment()
    assert len(one["RAY_AUTH_TOKEN"]) == 64
    assert one["RAY_AUTH_TOKEN"] != other["RAY_AUTH_TOKEN"]
