"""The demonstration's federation: every step is `ff-agent` or `ff-coordinator` as a process."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from client_agent.demo.datasets import DemoData
from client_agent.demo.layout import Hospital
from client_agent.demo.options import DemoOptions, make_spec
from client_agent.demo.processes import Processes
from client_agent.progress import Progress
from ff_protocol.files import write_atomically
from ff_protocol.spec import parse_spec

AGENT, COORDINATOR = "client_agent.cli", "coordinator.cli"
NEWCOMER = "newcomer"
_WHY_WAIVED = "a demonstration on public images"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """What the federation reached before the revocation.

    Attributes:
        figures: the classifier's figures on the test set.
        evidence: the figures where the modules are asked, too.
        classifiers: each site's classifier digest.
        bytes_per_site: mean payload per site, both directions.
        seconds: wall time from the first training to the last classifier.
        coordinator_peak_bytes: the coordinator's peak resident memory.
        modules: how many were made.
        waived: class to the figures of its module's audit that failed, one line each. Public images
            leave all the same, with a waiver; a hospital's would not.
    """

    figures: dict[str, Any]
    evidence: dict[str, Any]
    classifiers: dict[str, str]
    bytes_per_site: int
    seconds: float
    coordinator_peak_bytes: int | None
    modules: int
    waived: dict[str, list[str]]


@dataclass(frozen=True)
class RevocationShown:
    """What the revocation of one site's modules changed.

    Attributes:
        site: who revoked.
        modules: digests that were revoked.
        classes_before, classes_after: the label space.
        classifiers: each site's classifier digest afterwards, the newcomer's included.
        identical: all of them equal the digest of the newcomer, which never had the modules.
        figures: figures afterwards on the test images of the classes that are left.
        seconds: wall time of revoking, telling, deleting and retraining everywhere.
    """

    site: str
    modules: tuple[str, ...]
    classes_before: tuple[str, ...]
    classes_after: tuple[str, ...]
    classifiers: dict[str, str]
    identical: bool
    figures: dict[str, Any]
    seconds: float


class Federation:
    """The sites of a running demonstration."""

    def __init__(
        self,
        processes: Processes,
        data: DemoData,
        hospitals: tuple[Hospital, ...],
        options: DemoOptions,
        endpoint: str,
        coordinator_process: int,
        out: Path,
        progress: Progress,
    ) -> None:
        self._processes = processes
        self._hospitals = hospitals
        self._options = options
        self._endpoint = endpoint
        self._coordinator_process = coordinator_process
        self._out = out
        self._progress = progress
        self.spec = parse_spec(make_spec(data, options, processes.cores))

    def home(self, site: str) -> Path:
        """A site's home."""
        return self._out / "sites" / site

    def join(self, site: str) -> None:
        """Invite a site and let it join."""
        invitation = self._out / "invitations" / f"{site}.json"
        invitation.parent.mkdir(exist_ok=True, mode=0o700)
        self._call(
            COORDINATOR,
            site,
            "invite",
            site,
            "--endpoint",
            self._endpoint,
            "--output",
            str(invitation),
            home=self._out / "coordinator",
        )
        self._agent(site, "join", str(invitation))
        invitation.unlink()

    def join_all(self) -> None:
        """Let every hospital join."""
        self._each("joining", self.join)

    def run_round(self, test_file: Path) -> Outcome:
        """Every site trains, sends once, receives, synthesises and fits; then one is measured."""
        started = time.monotonic()
        sent = self._each("training and sending", self._train_and_send)
        received = self._each("receiving and fitting", self._receive_and_fit)
        seconds = time.monotonic() - started
        wire = sum(item["bytes_on_wire"] for item in sent) + sum(item[0] for item in received)
        return Outcome(
            figures=self._figures(self._hospitals[0].name, test_file),
            evidence=self._figures(self._hospitals[0].name, test_file, "--evidence"),
            classifiers={
                hospital.name: item[1]
                for hospital, item in zip(self._hospitals, received, strict=True)
            },
            bytes_per_site=round(wire / len(self._hospitals)),
            seconds=seconds,
            coordinator_peak_bytes=peak_memory(self._coordinator_process),
            modules=sum(len(item["modules"]) for item in sent),
            waived={name: texts for item in sent for name, texts in item["waived"].items()},
        )

    def revoke_last(self, remaining_test_file: Path) -> RevocationShown:
        """The last hospital withdraws its modules; the others hear of it at their next receive."""
        started = time.monotonic()
        revoker = self._hospitals[-1]
        before = self._agent(revoker.name, "status")["classifier"]["classes"]
        # The withdrawal itself comes first, its own rebuilding runs beside the others'.
        reason = "demonstration"
        revoked = self._agent(
            revoker.name, "revoke", "--site", revoker.name, "--reason", reason, "--no-rebuild"
        )
        self.join(NEWCOMER)
        names = [NEWCOMER, *(hospital.name for hospital in self._hospitals)]
        digests = self._each("revoking: every site rebuilds", self._rebuild, names)
        classifiers = dict(zip(names, digests, strict=True))
        after = self._agent(NEWCOMER, "status")["classifier"]["classes"]
        return RevocationShown(
            site=revoker.name,
            modules=tuple(revoked["modules"]),
            classes_before=tuple(before),
            classes_after=tuple(after),
            classifiers=classifiers,
            identical=set(classifiers.values()) == {classifiers[NEWCOMER]},
            figures=self._figures(self._hospitals[0].name, remaining_test_file),
            seconds=time.monotonic() - started,
        )

    def _train_and_send(self, name: str) -> dict[str, Any]:
        held = next(len(item.classes) for item in self._hospitals if item.name == name)
        per_class = max(1, round(self._options.seconds_per_site / held))
        trained = self._agent(
            name,
            "train",
            "--data",
            str(self._out / "images" / name),
            "--budget",
            f"{per_class}s",
            "--seed",
            str(self._options.seed),
            "--threads",
            str(self._processes.cores.threads),
        )
        waived = {held: texts for held, texts in trained["objections"].items() if texts}
        for class_name in waived:
            self._agent(name, "waive", class_name, "--reason", _WHY_WAIVED)
        return {**self._agent(name, "send"), "waived": waived}

    def _receive_and_fit(self, name: str) -> tuple[int, str]:
        count = str(len(self._hospitals))
        received = self._agent(name, "receive", "--wait", count, "--wait-for", "sites")
        fitted = self._agent(name, "fit")
        return int(received["bytes_on_wire"]), str(fitted["classifier"])

    def _rebuild(self, name: str) -> str:
        """The next `receive` applies the revocation; those who had no classifier then fit one."""
        received = self._agent(name, "receive")
        if received["unlearned"] is None:
            return str(self._agent(name, "fit")["classifier"])
        return str(received["unlearned"]["classifier"])

    def _figures(self, site: str, test_file: Path, *options: str) -> dict[str, Any]:
        evaluated = self._agent(site, "evaluate", "--data", str(test_file), *options)
        figures: dict[str, Any] = evaluated["figures"]
        return figures

    def _each(
        self, title: str, work: Callable[[str], Result], names: Sequence[str] | None = None
    ) -> list[Result]:
        """Do `work` for every hospital (or for `names`), a few at a time; results in order."""
        names = names or [hospital.name for hospital in self._hospitals]
        done = 0
        with self._progress.task(title, len(names)) as task:

            def one(name: str) -> Result:
                nonlocal done
                result = work(name)
                done += 1
                task.update(done, name)
                return result

            return self._processes.each(names, one)

    def _agent(self, site: str, *arguments: str) -> dict[str, Any]:
        return self._call(AGENT, site, *arguments, home=self.home(site))

    def _call(self, program: str, log: str, *arguments: str, home: Path) -> dict[str, Any]:
        return self._processes.call(program, [*arguments, "--home", str(home)], log)


@contextlib.contextmanager
def running_federation(
    processes: Processes,
    data: DemoData,
    hospitals: tuple[Hospital, ...],
    options: DemoOptions,
    out: Path,
    progress: Progress,
) -> Iterator[Federation]:
    """Make the authority, start the coordinator, let every hospital join."""
    home = out / "coordinator"
    spec = out / "spec.yaml"
    write_atomically(spec, yaml.safe_dump(make_spec(data, options, processes.cores)).encode())
    processes.call(
        COORDINATOR,
        ["init", "--home", str(home), "--federation", f"demo {data.name}", "--spec", str(spec)],
        "coordinator",
    )
    with processes.coordinator(home) as (endpoint, process):
        federation = Federation(
            processes, data, hospitals, options, endpoint, process, out, progress
        )
        federation.join_all()
        yield federation


def peak_memory(process: int) -> int | None:
    """Peak resident memory of a process in bytes, None where the kernel does not tell."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
