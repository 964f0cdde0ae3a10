"""Bring a home to the format of this program, or back to the one before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client_agent.errors import IdentityError, NotReadyError
from client_agent.home import Home
from client_agent.registry.log import Log
from client_agent.site import hold_home
from client_agent.upgrade.formats import FORMAT, HomeFormat, newer, read_format
from client_agent.upgrade.ladder import STEPS
from client_agent.upgrade.moves import Journal, carry_out, end, read_journal, stage
from client_agent.upgrade.plan import Plan
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.files import write_atomically

UPGRADED = "upgraded"


@dataclass
class Upgraded:
    """What `upgrade` did, or would do.

    Attributes:
        source, target: formats before and after; equal if there was nothing to do.
        finished: an interrupted upgrade, or way back, was completed first.
        set_aside: path in the home to why it is no longer used; it lies in `backups` now.
        dropped: path in the home to why it was deleted.
        changed: files whose contents were brought to the new format.
        to_do: what the admin has to do now, one line each.
        backups: folder of the backups.
    """

    source: int
    target: int
    backups: Path
    finished: bool = False
    set_aside: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)

    def add(self, plan: Plan, target: int) -> None:
        """Take in what one step changes."""
        self.target = target
        self.set_aside |= {item.path: item.reason for item in plan.set_aside}
        self.dropped |= {item.path: item.reason for item in plan.dropped}
        self.changed += [write.path for write in (plan.site_file, *plan.writes)]
        self.to_do += plan.to_do


def check_upgrade(home: Home) -> Upgraded:
    """Say what the next step of `upgrade` would do; change nothing.

    Raises:
        NotReadyError: the home has not joined a federation.
        NewerHomeError: the home belongs to a later program.
    """
    found = _found(home)
    result = Upgraded(found.version, found.version, home.backups)
    if found.unfinished:
        result.to_do.append("an upgrade was interrupted: ff-agent upgrade finishes it")
    elif found.version < FORMAT:
        result.add(_looked_at(home, STEPS[found.version].up), FORMAT)
    return result


def upgrade(home: Home) -> Upgraded:
    """Bring a home to this program's format, one step after another; finish what was interrupted.

    Killed at any time it leaves a home of the old format, or one that the next `upgrade` completes.

    Raises:
        NotReadyError: the home has not joined a federation.
        NewerHomeError: the home belongs to a later program.
        UsageError: another command is at work in the home.
        StorageError: the disk refused; run it again.
    """
    _found(home)
    with hold_home(home):
        finished = _finish(home)
        version = _found(home).version
        result = Upgraded(version, version, home.backups, finished)
        while version < FORMAT:
            step = STEPS[version]
            plan = _looked_at(home, step.up)
            _do(home, stage(home, plan, step.source, step.target))
            result.add(plan, step.target)
            version = step.target
    return result


def downgrade(home: Home) -> Upgraded:
    """Bring a home back to the format before, for the earlier version of the program.

    Raises:
        NotReadyError: it was of no earlier format, or holds what the earlier one cannot.
        NewerHomeError, UsageError, StorageError: as for `upgrade`.
    """
    _found(home)
    with hold_home(home):
        finished = _finish(home)
        version = _found(home).version
        result = Upgraded(version, version, home.backups, finished)
        step = STEPS.get(version - 1)
        if step is None or not home.backup(step.source).is_dir():
            raise NotReadyError(
                f"{home.root} was not upgraded to format {version}: there is nothing to go back to",
                hint="ff-agent upgrade --check says which format it has",
            )
        plan = _looked_at(home, step.back)
        _do(home, stage(home, plan, step.target, step.source))
        result.add(plan, step.source)
    return result


def _found(home: Home) -> HomeFormat:
    if not home.site_file.is_file():
        raise NotReadyError(
            f"{home.root} has not joined a federation",
            hint="run: ff-agent join INVITATION --home DIR, or name another --home",
        )
    found = read_format(home)
    if found.version > FORMAT:
        raise newer(found, home.root)
    return found


def _looked_at(home: Home, look: Callable[[Path], Plan]) -> Plan:
    try:
        return look(home.root)
    except (OSError, UnicodeDecodeError, TypeError, SpecError, MalformedError) as error:
        raise IdentityError(
            f"{home.root} is damaged: {error}", hint="restore the home from a backup"
        ) from error


def _finish(home: Home) -> bool:
    """Complete what an interruption left; say whether there was anything."""
    for part in home.root.glob(f".{home.upgrade_journal.name}.*.part"):
        part.unlink(missing_ok=True)
    journal = read_journal(home)
    if journal is None:
        return False
    _carry_out(home, journal)
    return True


def _do(home: Home, journal: Journal) -> None:
    write_atomically(home.upgrade_journal, journal.to_bytes())
    _carry_out(home, journal)


def _carry_out(home: Home, journal: Journal) -> None:
    carry_out(home, journal)
    log = Log(home.log)
    *_, last = (None, *log.entries())
    noted = last is not None and (last["event"], last["details"]) == (UPGRADED, journal.details)
    if not noted:
        log.append(UPGRADED, **journal.details)
    end(home)
