"""What the demonstration leaves: `results.json` for scripts, a table for people."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from client_agent.demo.arms import Arm
from client_agent.demo.federation import Outcome, RevocationShown
from ff_protocol import canonical
from ff_protocol.durations import format_duration
from ff_protocol.files import write_atomically

TITLES = {
    "own_classes": "each hospital alone",
    "fedavg": "FedAvg",
    "federated_factory": "Federated Factory",
    "centralised": "images pooled",
}


@dataclass(frozen=True)
class Demonstration:
    """Everything that was measured.

    Attributes:
        dataset: its name.
        sites: site to the classes that it holds.
        seed: of everything random.
        federation: the federation's outcome before the revocation.
        rivals: the other arms by name.
        revocation: what the revocation changed.
        seconds: wall time of the whole demonstration.
        sheet: contact sheet of synthetic images.
        out: the folder with everything.
    """

    dataset: str
    sites: dict[str, tuple[str, ...]]
    seed: int
    federation: Outcome
    rivals: dict[str, Arm]
    revocation: RevocationShown
    seconds: float
    sheet: Path
    out: Path

    @property
    def arms(self) -> dict[str, Arm]:
        """All arms in the order of the table."""
        ours = Arm(
            self.federation.figures, self.federation.bytes_per_site, 1, self.federation.seconds
        )
        every = {**self.rivals, "federated_factory": ours}
        return {name: every[name] for name in TITLES}

    def to_dict(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {
            "dataset": self.dataset,
            "seed": self.seed,
            "sites": len(self.sites),
            "classes_by_site": {name: list(classes) for name, classes in self.sites.items()},
            "seconds": round(self.seconds, 1),
            "bytes_per_site": self.federation.bytes_per_site,
            "arms": {
                name: {
                    "accuracy": arm.figures["accuracy"],
                    "auroc": arm.figures["macro_auroc"],
                    "bytes_per_site": arm.bytes_per_site,
                    "rounds": arm.rounds,
                    "seconds": round(arm.seconds, 1),
                }
                for name, arm in self.arms.items()
            },
            "evidence": {
                "accuracy": self.federation.evidence["accuracy"],
                "auroc": self.federation.evidence["macro_auroc"],
            },
            "coordinator_peak_bytes": self.federation.coordinator_peak_bytes,
            "classifiers": self.federation.classifiers,
            "modules": self.federation.modules,
            "waived": self.federation.waived,
            "revocation": asdict(self.revocation),
        }


def write_results(demonstration: Demonstration) -> None:
    """Write `results.json` into the demonstration's folder."""
    write_atomically(
        demonstration.out / "results.json", canonical.dumps(_plain(demonstration.to_dict()))
    )


def show(demonstration: Demonstration) -> None:
    """Print the tables."""
    from client_agent.console import show_table

    rows = [
        [
            TITLES[name],
            f"{100 * arm.figures['accuracy']:.1f} %",
            f"{arm.figures['macro_auroc']:.3f}",
            arm.rounds or "",
            f"{arm.bytes_per_site / 1e6:.1f} MB" if arm.bytes_per_site else "",
            format_duration(arm.seconds),
        ]
        for name, arm in demonstration.arms.items()
    ]
    print()
    show_table(
        f"{demonstration.dataset}: {len(demonstration.sites)} hospitals that share no label",
        ["", "accuracy", "AUROC", "rounds", "bytes a site", "time"],
        rows,
    )
    asked = demonstration.federation.evidence
    print(
        "Federated Factory with --evidence, which asks the modules, too: "
        f"{100 * asked['accuracy']:.1f} %, AUROC {asked['macro_auroc']:.3f}"
    )
    _show_audit(demonstration.federation)
    _show_revocation(demonstration)
    print(f"\nsynthetic images (no patient's): {demonstration.sheet}")
    print(f"homes, logs and results.json: {demonstration.out}")
    print(f"whole demonstration: {format_duration(demonstration.seconds)}")


def _show_audit(outcome: Outcome) -> None:
    passed = outcome.modules - len(outcome.waived)
    print(f"\naudit: {passed} of {outcome.modules} modules may leave by the default policy")
    for class_name, texts in outcome.waived.items():
        print(f"  {class_name}, sent with a waiver: {'; '.join(texts)}")


def _show_revocation(demonstration: Demonstration) -> None:
    shown = demonstration.revocation
    gone = [name for name in shown.classes_before if name not in shown.classes_after]
    count = len(shown.modules)
    print(
        f"\n{shown.site} then revoked its {count} module{'s' if count > 1 else ''} "
        f"({format_duration(shown.seconds)} for every site to forget and rebuild):"
    )
    print(f"  classes that left every classifier: {', '.join(gone) or 'none'}")
    print(f"  accuracy on the classes that are left: {100 * shown.figures['accuracy']:.1f} %")
    verdict = "bit-identical" if shown.identical else "DIFFERENT"
    print(
        f"  {len(shown.classifiers)} classifiers, among them that of a site which joined later "
        f"and never had those modules: {verdict}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
