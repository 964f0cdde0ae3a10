"""Killed at every step of an upgrade, or of the way back: the next one ends as if undisturbed.

The steps are found as in test_unlearning_killed.py: the home is copied before each operation of an
undisturbed run that changes the disk. No copy may be taken for a whole home of either format.
"""

import contextlib
import shutil
from pathlib import Path

import pytest

from client_agent.errors import NotReadyError, UsageError
from client_agent.home import Home
from client_agent.registry.log import Log
from client_agent.site import hold_home, open_site
from client_agent.steps.upgrade import check_upgrade, downgrade, upgrade
from client_agent.upgrade import moves
from client_agent.upgrade.formats import FORMAT, OutdatedHomeError, read_format
from ff_protocol.files import StorageError
from tests.agents import agent, finish, start_agent
from tests.faults.test_unlearning_killed import before_each_operation
from tests.old_homes import unpack


def contents(home: Home) -> dict[str, bytes]:
    """Every file but the record and the lock."""
    return {
        path.relative_to(home.root).as_posix(): path.read_bytes()
        for path in sorted(home.root.rglob("*"))
        if path.is_file() and path.name not in ("log.jsonl", ".lock")
    }


def watched(home: Home, folder: Path, work) -> list[Home]:
    """Do some work on a home; return copies of it at each step, equal ones once."""
    copies: list[Home] = []
    seen: set[int] = set()

    def notice(operation: str) -> None:
        state = hash(tuple(sorted(contents(home).items())))
        if state not in seen:
            seen.add(state)
            copies.append(Home(folder / f"{len(copies):03d}-before-{operation}"))
            shutil.copytree(home.root, copies[-1].root)

    with before_each_operation(notice):
        work(home)
    return copies


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Home:
    """A home of format 1: copy it."""
    home = Home(unpack("card-1", tmp_path_factory.mktemp("old")) / "hospital-1")
    (home.root / "classifier").mkdir()
    (home.root / "classifier" / "fit.json").write_text("{}")
    return home


@pytest.fixture(scope="module")
def upgraded(old, tmp_path_factory) -> tuple[list[Home], Home]:
    """Copies at each step of the upgrade, and the home when it is done."""
    folder = tmp_path_factory.mktemp("upgraded")
    home = Home(folder / "home")
    shutil.copytree(old.root, home.root)
    return watched(home, folder, upgrade), home


@pytest.fixture(scope="module")
def back(upgraded, tmp_path_factory) -> tuple[list[Home], Home]:
    """Copies at each step of the way back, and the home when it is done."""
    folder = tmp_path_factory.mktemp("back")
    home = Home(folder / "home")
    shutil.copytree(upgraded[1].root, home.root)
    return watched(home, folder, downgrade), home


def whole(home: Home, old: Home) -> bool:
    """Whether nothing has been changed yet but what nobody reads."""
    state = contents(home)
    return all(state.get(name) == data for name, data in contents(old).items())


def test_killed_at_any_step_of_an_upgrade_the_next_one_ends_alike(old, upgraded):
    copies, undisturbed = upgraded
    assert len(copies) >= 15
    expected = contents(undisturbed)
    pending = 0
    for copy in copies:
        if copy.upgrade_journal.exists():
            pending += 1
            with pytest.raises(OutdatedHomeError):
                open_site(copy)
            assert check_upgrade(copy).to_do
        else:
            # Wholly old, or wholly new: nothing in between is ever worked in.
            assert read_format(copy).version == FORMAT or whole(copy, old)
        upgrade(copy)
        assert contents(copy) == expected, copy.root.name
        Log(copy.log).verify()
        events = [entry["event"] for entry in Log(copy.log).entries()]
        assert events.count("upgraded") == 1, copy.root.name
    assert pending >= 8


def test_killed_at_any_step_of_the_way_back_the_next_command_ends_alike(old, upgraded, back):
    copies, undisturbed = back
    assert len(copies) >= 12
    expected = contents(undisturbed)
    for copy in copies:
        unfinished = copy.upgrade_journal.exists()
        again = Home(copy.root.with_name(f"{copy.root.name}-again"))
        shutil.copytree(copy.root, again.root)
        if unfinished:
            with pytest.raises(OutdatedHomeError):
                open_site(copy)
        if read_format(copy).version == FORMAT or unfinished:
            downgrade_or_finish(copy)
        assert contents(copy) == expected, copy.root.name
        # Whoever has changed their mind meanwhile ends where the upgrade ended.
        upgrade(again)
        open_site(again)
        assert not again.upgrade_journal.exists()
        after = {k: v for k, v in contents(again).items() if not k.startswith("backups/")}
        assert after == {
            k: v for k, v in contents(upgraded[1]).items() if not k.startswith("backups/")
        }, copy.root.name


def downgrade_or_finish(home: Home) -> None:
    """Go back; where that was interrupted late, finishing it is all that is left to do."""
    with contextlib.suppress(NotReadyError):
        downgrade(home)


def test_an_upgrade_that_is_really_killed_is_finished_by_the_next(old, upgraded, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(old.root, home.root)
    kill = (
        "import os\n"
        "from client_agent.upgrade import moves\n"
        "moves.done = moves._do\n"
        "def do(move, *paths, os=os, moves=moves):\n"
        "    moves.done(move, *paths)\n"
        "    os.kill(os.getpid(), 9) if move.kind == 'drop' else None\n"
        "moves._do = do\n"
    )
    killed = finish(start_agent(home.root, "upgrade", before=kill))
    assert killed.code in (-9, 137)
    refused = agent(home.root, "status")
    assert refused.code == 7
    assert "an upgrade of" in refused.err
    assert agent(home.root, "upgrade").code == 0
    assert contents(home) == contents(upgraded[1])


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_disk_that_refuses_midway_costs_nothing(old, upgraded, tmp_path, monkeypatch, step):
    home = Home(tmp_path / "home")
    shutil.copytree(old.root, home.root)
    real, left = moves._do, [step]

    def full(*arguments) -> None:
        if not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        real(*arguments)

    monkeypatch.setattr(moves, "_do", full)
    with pytest.raises(StorageError, match="disk is full"):
        upgrade(home)
    monkeypatch.setattr(moves, "_do", real)
    upgrade(home)
    assert contents(home) == contents(upgraded[1])


def test_an_upgrade_waits_for_no_command_that_is_at_work(old, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(old.root, home.root)
    with hold_home(home), pytest.raises(UsageError, match="at work"):
        upgrade(home)
    assert whole(home, old)
