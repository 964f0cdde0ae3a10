"""`classifier/fit.json`: what the classifier in use was made from, and its digest."""

from dataclasses import dataclass
from typing import Any

from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_ENVELOPE_BYTES


@dataclass(frozen=True)
class FitRecord:
    """Provenance of the classifier in use.

    Attributes:
        inputs: SHA-256 over all that its bytes depend on.
        dataset_root: Merkle root of the training set.
        classifier: SHA-256 of `classifier.onnx`.
        classes: the classes that it knows.
        modules: digests of the modules behind it, in order.
        samples: number of training images.
        reproducibility: versions and instruction set it was made under.
    """

    inputs: str
    dataset_root: str
    classifier: str
    classes: tuple[str, ...]
    modules: tuple[str, ...]
    samples: int
    reproducibility: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Serialise canonically."""
        return canonical.dumps(
            {
                "inputs": self.inputs,
                "dataset_root": self.dataset_root,
                "classifier": self.classifier,
                "classes": list(self.classes),
                "modules": list(self.modules),
                "samples": self.samples,
                "reproducibility": self.reproducibility,
            }
        )


def read_fit_record(home: Home) -> FitRecord | None:
    """Return the record of the classifier in use, None if there is no classifier."""
    if not home.fit_record.is_file() or not home.classifier.is_file():
        return None
    value = canonical.loads(
        read_bounded(home.fit_record, MAX_ENVELOPE_BYTES, "fit record"),
        max_bytes=MAX_ENVELOPE_BYTES,
        what="fit record",
    )
    return FitRecord(
        inputs=value["inputs"],
        dataset_root=value["dataset_root"],
        classifier=value["classifier"],
        classes=tuple(value["classes"]),
        modules=tuple(value["modules"]),
        samples=value["samples"],
        reproducibility=value["reproducibility"],
    )
