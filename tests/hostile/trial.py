"""Put attacks before the real admission, one after the other, in a process of its own.

As a program: `python -m tests.hostile.trial FOLDER NAME...` prints one JSON object a line, with
what became of the attack, the CPU seconds that it cost the agent and its workers, the time it took,
and the agent's peak memory during it.
"""

import contextlib
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from client_agent.module.admission import check_module
from client_agent.site import Site
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.statements import Publication
from tests.homes import Authority, make_authority
from tests.hostile.attack import HONEST
from tests.hostile.table import ATTACKS

ADMITTED = "admitted"


def judge(folder: Path, publication: Publication, receiver: Site) -> str:
    """Have a module admitted; return `admitted`, or the reason it is refused for."""
    try:
        check_module(folder, publication, receiver)
    except FederatedFactoryError as error:
        return error.message
    return ADMITTED


def federation() -> Authority:
    """Three classes of 8 x 8 grey images, the default policy."""
    return make_authority(classes=["zero", "one", "two"])


def main(root: Path, names: list[str]) -> None:
    """Try each attack; print what became of it."""
    authority = federation()
    publisher = authority.join(root / "publisher", "hospital-1")
    receiver = authority.join(root / "receiver", "hospital-2")
    # The first admission loads libraries that all later ones use.
    assert judge(root / "first", HONEST.publish(root / "first", publisher), receiver) == ADMITTED
    for number, name in enumerate(names):
        folder = root / f"attack-{number}"
        publication = ATTACKS[name].publish(folder, publisher)
        _forget_peak()
        before, began = _cpu(), time.monotonic()
        outcome = judge(folder, publication, receiver)
        report: dict[str, Any] = {
            "name": name,
            "outcome": outcome,
            "cpu_seconds": round(_cpu() - before, 3),
            "seconds": round(time.monotonic() - began, 3),
            "peak_bytes": _peak(),
        }
        print(json.dumps(report), flush=True)
        shutil.rmtree(folder, ignore_errors=True)


def _cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _forget_peak() -> None:
    """Have the kernel measure from now on, without what building the attack took."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Peak of the resident memory in bytes, 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as scratch:
        main(Path(scratch), sys.argv[2:] or list(ATTACKS))
