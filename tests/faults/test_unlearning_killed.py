"""Killed at every step of an unlearning: the rerun ends byte for byte as an undisturbed run does.

A kill leaves the home as the last operation on the disk left it. So the undisturbed run is watched:
before each operation that changes the disk (create, sync, rename, delete) the home is copied. Each
copy is what a kill at that step would leave, temporary files included, since nothing cleans up.
Each is then run to its end.
"""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client_agent.home import Home
from client_agent.registry.forgetting import read_pending
from client_agent.registry.modules import own_modules
from client_agent.site import Site, open_site
from client_agent.steps.apply import apply_revocations
from client_agent.steps.fit import fit
from client_agent.steps.revoke import finish_unlearning, revoke
from client_agent.steps.verify_unlearning import read_certificate
from ff_protocol.files import StorageError
from ff_protocol.manifest import describe_module
from tests.agents import agent_json, finish, start_agent
from tests.unit.test_unlearning import EVERYONE, share, traces

OPERATIONS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir")


@contextmanager
def before_each_operation(notice: Callable[[str], None]) -> Iterator[None]:
    """Call `notice` before every operation of this process that changes the disk."""
    originals = {name: getattr(os, name) for name in OPERATIONS}
    watching = True

    def watched(name: str) -> Callable:
        def operation(*arguments, **options):
            nonlocal watching
            if watching:
                watching = False  # copying changes the disk, too
                try:
                    notice(name)
                finally:
                    watching = True
            return originals[name](*arguments, **options)

        return operation

    for name in OPERATIONS:
        setattr(os, name, watched(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def contents(home: Path) -> dict[str, bytes]:
    """Every file but the record, and what is signed at random or carries a time."""
    left_out = {"log.jsonl", ".lock"}
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name not in left_out and "certificates" not in path.parts
    }


class Watched:
    """Copies of a home at each step of some work, equal ones once."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site, self._folder = site, folder
        self._seen: set[int] = set()
        self.copies: list[Path] = []

    def __call__(self, operation: str) -> None:
        home = self._site.home.root
        state = hash((*sorted(contents(home).items()), (home / "log.jsonl").read_bytes()))
        if state not in self._seen:
            self._seen.add(state)
            copy = self._folder / f"{len(self.copies):03d}-before-{operation}"
            shutil.copytree(home, copy)
            self.copies.append(copy)


@pytest.fixture(scope="module")
def fitted(trained_homes, tmp_path_factory) -> tuple[Path, str]:
    """A home with three modules and their classifier, and the module to be forgotten."""
    folder = tmp_path_factory.mktemp("fitted")
    sites = {}
    for name, home in trained_homes.items():
        shutil.copytree(home, folder / name)
        sites[name] = open_site(Home(folder / name))
    digests = share(sites, sites["hospital-1"], EVERYONE)
    fit(sites["hospital-1"])
    return folder / "hospital-1", digests["hospital-3"]


@pytest.fixture(scope="module")
def forgotten(fitted, tmp_path_factory) -> tuple[list[Path], Path, str]:
    """Copies at each step of forgetting, and the home when it is done."""
    folder = tmp_path_factory.mktemp("forgotten")
    home, digest = fitted
    shutil.copytree(home, folder / "home")
    site = open_site(Home(folder / "home"))
    watched = Watched(site, folder)
    with before_each_operation(watched):
        revoke(site, module=digest, rebuild=False)
    return watched.copies, folder / "home", digest


@pytest.fixture(scope="module")
def rebuilt(forgotten, tmp_path_factory) -> tuple[list[Path], Path, str]:
    """Copies at each step of rebuilding, and the home when it is done."""
    folder = tmp_path_factory.mktemp("rebuilt")
    shutil.copytree(forgotten[1], folder / "home")
    site = open_site(Home(folder / "home"))
    watched = Watched(site, folder)
    with before_each_operation(watched):
        finish_unlearning(site)
    return watched.copies, folder / "home", forgotten[2]


def test_killed_at_any_step_of_forgetting_the_rerun_forgets_to_the_same_bytes(forgotten):
    copies, undisturbed, digest = forgotten
    assert len(copies) > 12  # statement, note, folders, classifier, and all in between
    expected = contents(undisturbed)
    for copy in copies:
        site = open_site(Home(copy))
        revoke(site, module=digest, rebuild=False)
        state = contents(copy)
        # A kill before the statement's file was there: the rerun signs another one.
        for pool in (state, expected):
            for name in [name for name in pool if "local-revocations" in name]:
                pool.pop(name)
        state.pop("unlearning.json")
        assert state == {k: v for k, v in expected.items() if k != "unlearning.json"}, copy.name
        assert read_pending(site).modules == (digest,), copy.name
        assert read_pending(site).refit, copy.name
        assert traces(site, digest) == [], copy.name
        site.log.verify()


def test_killed_at_any_step_of_forgetting_the_next_fit_goes_on_by_itself(forgotten):
    """Whatever the command that comes next: a stored statement is in force."""
    copies, _, digest = forgotten
    stored = [copy for copy in copies if list(copy.glob("statements/local-revocations/*.dsse"))]
    assert len(stored) >= 10
    for copy in stored:
        site = open_site(Home(copy))
        apply_revocations(site)
        assert traces(site, digest) == [], copy.name


def test_killed_at_any_step_of_rebuilding_the_rerun_ends_in_the_same_bytes(rebuilt):
    copies, undisturbed, digest = rebuilt
    expected = contents(undisturbed)
    assert "classifier/classifier.onnx" in expected
    unfinished = {}
    for copy in copies:
        state = contents(copy)
        # Where a classifier still has to be made, one copy of each kind of disorder will do.
        done = "classifier/fit.json" in state
        kind = (done, any(name.endswith(".part") for name in state), len(state))
        unfinished.setdefault(copy if done else kind, copy)
    assert len(unfinished) >= 6
    for copy in unfinished.values():
        site = open_site(Home(copy))
        finish_unlearning(site)
        apply_revocations(site)
        state = contents(copy)
        assert {k: v for k, v in state.items() if not k.endswith(".part")} == expected, copy.name
        assert read_pending(site) is None
        (certificate,) = site.home.unlearning_certificates.glob("*.dsse")
        found = read_certificate(site, certificate)
        assert found.modules == (digest,)
        assert found.after == read_certificate_of(undisturbed).after
        site.log.verify()


def read_certificate_of(home: Path):
    (path,) = (home / "certificates" / "unlearning").glob("*.dsse")
    return read_certificate(open_site(Home(home)), path)


def test_a_revoke_that_is_really_killed_ends_in_the_same_bytes(fitted, rebuilt, tmp_path):
    home, digest = fitted
    shutil.copytree(home, tmp_path / "home")
    process = start_agent(tmp_path / "home", "revoke", digest)
    while not (tmp_path / "home" / "unlearning.json").exists():
        assert process.poll() is None
    process.kill()
    finish(process)
    agent_json(tmp_path / "home", "revoke", digest)
    expected = contents(rebuilt[1])
    for name in ("classifier/classifier.onnx", "classifier/fit.json"):
        assert (tmp_path / "home" / name).read_bytes() == expected[name]


@pytest.mark.parametrize("limit", [200, 2_000, 20_000])
def test_a_disk_that_fills_midway_costs_nothing(fitted, rebuilt, tmp_path, limit):
    home, digest = fitted
    shutil.copytree(home, tmp_path / "home")
    site = open_site(Home(tmp_path / "home"))
    size = site.home.log.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + limit, before[1]))
    try:
        with pytest.raises(StorageError):
            revoke(site, module=digest)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    revoke(site, module=digest, rebuild=limit == 20_000)
    assert traces(site, digest) == []
    if limit == 20_000:
        expected = contents(rebuilt[1])["classifier/classifier.onnx"]
        assert site.home.classifier.read_bytes() == expected


def test_a_module_revoked_while_it_is_sampled_is_gone_afterwards(fitted, tmp_path):
    """Sampling holds the home; the revocation is refused clearly and then applied whole."""
    home, digest = fitted
    shutil.copytree(home, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "shards" / digest)
    process = start_agent(tmp_path / "home", "fit")
    try:
        while not (tmp_path / "home" / "shards" / digest).exists():
            assert process.poll() is None
        second = finish(start_agent(tmp_path / "home", "revoke", digest))
        busy = process.poll() is None
    finally:
        process.kill()
        finish(process)
    if busy:
        assert second.code == 2, second.err
        assert "another ff-agent command is at work" in second.err
    site = open_site(Home(tmp_path / "home"))
    revoke(site, module=digest, rebuild=False)
    assert traces(site, digest) == []


def test_own_modules_leave_no_checkpoint_no_list_and_no_half_deleted_folder(
    trained_homes, tmp_path, monkeypatch
):
    shutil.copytree(trained_homes["hospital-1"], tmp_path / "home")
    site = open_site(Home(tmp_path / "home"))
    sites = {"hospital-1": site}
    digest = share(sites, site, ["hospital-1"])["hospital-1"]
    checkpoint = site.home.training("zero") / "half.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    monkeypatch.setattr("client_agent.steps.revoke.deliver_revocations", lambda *_: False)
    watched = Watched(site, tmp_path)
    with before_each_operation(watched):
        revoke(site, module=digest, rebuild=False)
    for copy in watched.copies:
        again = open_site(Home(copy))
        revoke(again, module=digest, rebuild=False)
        assert own_modules(again.home) == {}, copy.name
        for name in (
            *("training/zero", f"training-images/{digest}.json", f"admitted/{digest}"),
            *(f"learning-curves/{digest}.json", f"generators/{digest}.pt"),
        ):
            assert not (copy / name).exists(), (copy.name, name)
        assert not list(copy.rglob("*.deleted")), copy.name
        assert not list((copy / "outbox").rglob("*.onnx")), copy.name
    assert describe_module(trained_homes["hospital-1"] / "outbox" / "zero")[0] == digest
