"""What `train` may be told, and how a site remembers it for training a class again."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from client_agent.module.packing import Terms
from client_agent.sources.location import Location, parse_location, remembered
from client_agent.sources.options import NOTHING_SAID, SourceOptions
from ff_protocol.spec import FederationSpec

if TYPE_CHECKING:
    from client_agent.generator.presets import Preset
    from client_agent.generator.privacy import PrivacyTarget
    from client_agent.generator.training import Budget

DEFAULT_SECONDS = {"tiny": 600.0, "small": 3600.0, "large": 14400.0}
"""Training time per class where neither --budget nor --steps is given, by preset."""


@dataclass(frozen=True)
class TrainOptions:
    """What `train` may be told.

    Attributes:
        data: DICOM tree, DICOMDIR, class folders, MedMNIST-style `.npz`, or a DICOMweb server.
        labels: CSV with labels for DICOM files.
        source: whatever else there is to say of the images.
        classes: the classes to take from `data`; None takes all that are there.
        split: which split of an `.npz`.
        seconds: time budget per class; None with `steps` None takes the preset's default.
        steps: step budget per class.
        seed: of initialisation, order and noise.
        threads: compute threads; None takes all cores.
        device: `auto` takes a CUDA device if there is one.
        retrain: train classes again that have a module or were revoked.
        dp_epsilon: train with (epsilon, delta)-differential privacy.
        dp_delta: the guarantee's delta.
        audit: measure what the modules give away; may be left out only where the site's policy does
            not demand it.
        terms: licence and terms of use for the cards.
    """

    data: Location
    labels: Path | None = None
    source: SourceOptions = NOTHING_SAID
    classes: tuple[str, ...] | None = None
    split: str = "train"
    seconds: float | None = None
    steps: int | None = None
    seed: int = 0
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    retrain: bool = False
    dp_epsilon: float | None = None
    dp_delta: float = 1e-5
    audit: bool = True
    terms: Terms = field(default_factory=Terms)

    def recipe(self, spec: FederationSpec) -> tuple["Preset", "Budget", "PrivacyTarget | None"]:
        """Return preset, budget of a class and, for a private training, the guarantee wanted.

        Raises:
            UsageError: the spec's preset does not fit its images.
        """
        from client_agent.generator.presets import preset_for
        from client_agent.generator.privacy import DEFAULT_STEPS, PrivacyTarget, private_preset
        from client_agent.generator.training import Budget

        preset = preset_for(spec.preset, spec.image.size, spec.image.channels)
        if self.dp_epsilon is not None:
            steps = DEFAULT_STEPS if self.steps is None else self.steps
            target = PrivacyTarget(self.dp_epsilon, self.dp_delta)
            return private_preset(preset), Budget(self.seconds, steps), target
        seconds = self.seconds
        if seconds is None and self.steps is None:
            seconds = DEFAULT_SECONDS[preset.name]
        return preset, Budget(seconds, self.steps), None

    def to_json(self) -> dict[str, Any]:
        """What it takes to train the class again, as JSON values; stays in the home."""
        return {
            "data": remembered(self.data),
            "labels": None if self.labels is None else str(self.labels.absolute()),
            "source": self.source.to_json(),
            "split": self.split,
            "seconds": self.seconds,
            "steps": self.steps,
            "seed": self.seed,
            "threads": self.threads,
            "device": self.device,
            "dp_epsilon": self.dp_epsilon,
            "dp_delta": self.dp_delta,
            "classes": None if self.classes is None else list(self.classes),
            "audit": self.audit,
            "terms": asdict(self.terms),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], data: Location | None = None) -> "TrainOptions":
        """Invert `to_json`; `data` says where the images lie now, with labels of their own."""
        moved = data is not None
        return cls(
            data=data if data is not None else parse_location(value["data"]),
            labels=None if moved or value["labels"] is None else Path(value["labels"]),
            source=SourceOptions.from_json(value["source"]),
            split=value["split"],
            seconds=value["seconds"],
            steps=value["steps"],
            seed=value["seed"],
            threads=value["threads"],
            device=value["device"],
            dp_epsilon=value["dp_epsilon"],
            dp_delta=value["dp_delta"],
            classes=None if value["classes"] is None else tuple(value["classes"]),
            audit=value["audit"],
            terms=Terms(**value["terms"]),
        )
