"""`classifier/fit.json`: what the classifier in use was made from, and its digest."""

from dataclasses import dataclass
from typing import Any

from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.unlearning import Rebuilt, parse_rebuilt


@dataclass(frozen=True)
class FitRecord:
    """Provenance of the classifier in use.

    Attributes:
        inputs: SHA-256 over all that its bytes depend on.
        modules: digests of the modules that were here, in order.
        samples: number of synthetic images, those held out for calibration included.
        losses: mean training loss of each pass, for people to look at.
        state: data set and classifier with every digest, as an unlearning certificate names them.
    """

    inputs: str
    modules: tuple[str, ...]
    samples: int
    losses: tuple[float, ...]
    state: Rebuilt

    @property
    def dataset_root(self) -> str:
        """Merkle root of the training set."""
        return self.state.dataset_root

    @property
    def classifier(self) -> str:
        """SHA-256 of `classifier.onnx`."""
        return self.state.classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it knows."""
        return self.state.classes

    @property
    def reproducibility(self) -> dict[str, Any]:
        """Versions and instruction set it was made under."""
        return self.state.reproducibility

    def to_bytes(self) -> bytes:
        """Serialise canonically."""
        return canonical.dumps(
            {
                "inputs": self.inputs,
                "modules": list(self.modules),
                "samples": self.samples,
                "losses": list(self.losses),
                "state": self.state.to_dict(),
            }
        )


def read_fit_record(home: Home) -> FitRecord | None:
    """Return the record of the classifier in use, None if there is no classifier.

    A record of another format counts as none: `fit` makes both again.
    """
    if not home.fit_record.is_file() or not home.classifier.is_file():
        return None
    value = canonical.loads(
        read_bounded(home.fit_record, MAX_ENVELOPE_BYTES, "fit record"),
        max_bytes=MAX_ENVELOPE_BYTES,
        what="fit record",
    )
    try:
        return FitRecord(
            inputs=value["inputs"],
            modules=tuple(value["modules"]),
            samples=value["samples"],
            losses=tuple(value["losses"]),
            state=parse_rebuilt(value["state"]),
        )
    except (KeyError, TypeError, MalformedError):
        return None
