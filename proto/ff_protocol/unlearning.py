"""The unlearning certificate: "this site has forgotten it; rebuild and compare".

It names every digest that someone with the same modules needs to rebuild the data set and the
classifier and compare, the reproducibility class within which the bits must be equal, and a small
probe of the outputs for where they cannot be. No image of the data set is in it: the probe holds
block means of synthetic images and the classifier's probabilities for them. No I/O here.
"""

from dataclasses import dataclass
from typing import Any

from ff_protocol import intoto
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import check_class_name, check_digest, check_site_id

UNLEARNING = intoto.PREFIX + "unlearning:v1"

MAX_MODULES = 4096
MAX_PROBES = 64
PROBE_GRID = 4
"""Block means are taken over a grid of so many rows and columns."""


@dataclass(frozen=True)
class PortionRoot:
    """What one module gave to the data set: `samples` images with Merkle root `root`."""

    module: str
    class_name: str
    samples: int
    root: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "module": self.module,
            "class": self.class_name,
            "samples": self.samples,
            "root": self.root,
        }


@dataclass(frozen=True)
class Probe:
    """Outputs on a few samples, for a comparison where bits cannot be equal.

    Attributes:
        blocks: for each probe, the mean level (0 to 255) of each block and channel of the image.
        probabilities: for each probe, the classifier's probabilities in units of 1/10,000.
    """

    blocks: tuple[tuple[int, ...], ...]
    probabilities: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "blocks": [list(row) for row in self.blocks],
            "probabilities": [list(row) for row in self.probabilities],
        }


@dataclass(frozen=True)
class Rebuilt:
    """The state that is left: data set and classifier.

    Attributes:
        spec: SHA-256 of the federation spec's canonical JSON.
        dataset_root: Merkle root of the data set.
        portions: each module's part of it, in the data set's order.
        classifier: SHA-256 of `classifier.onnx`.
        classes: what it knows, in the order of its outputs.
        reproducibility: versions, instruction set and threads that it was made with.
        probe: some of its outputs.
        revision: of the federation spec. Revision 1 is not written: programs from before there
            were revisions read and write the same.
    """

    spec: str
    dataset_root: str
    portions: tuple[PortionRoot, ...]
    classifier: str
    classes: tuple[str, ...]
    reproducibility: dict[str, Any]
    probe: Probe
    revision: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "spec": self.spec,
            "dataset_root": self.dataset_root,
            "portions": [portion.to_dict() for portion in self.portions],
            "classifier": self.classifier,
            "classes": list(self.classes),
            "reproducibility": self.reproducibility,
            "probe": self.probe.to_dict(),
            **({"revision": self.revision} if self.revision > 1 else {}),
        }


@dataclass(frozen=True)
class Unlearning:
    """A certificate.

    Attributes:
        modules: digests that were forgotten.
        statements: digests of the revocations that ordered it.
        root_before, classifier_before: the state before, None if there was no classifier.
        after: the state now, None if there is no classifier.
        digest: of the certificate's payload.
    """

    federation_id: str
    site_id: str
    modules: tuple[str, ...]
    statements: tuple[str, ...]
    root_before: str | None
    classifier_before: str | None
    after: Rebuilt | None
    certified_at: str
    digest: str = ""


def build_unlearning(unlearning: Unlearning) -> Any:
    """Build the statement to be signed (its `digest` field is ignored)."""
    return intoto.build(
        UNLEARNING,
        [("module", digest) for digest in unlearning.modules],
        {
            "federation": unlearning.federation_id,
            "site": unlearning.site_id,
            "statements": list(unlearning.statements),
            "before": {
                "dataset_root": unlearning.root_before,
                "classifier": unlearning.classifier_before,
            },
            "after": None if unlearning.after is None else unlearning.after.to_dict(),
            "certified_at": unlearning.certified_at,
        },
    )


def read_unlearning(payload: VerifiedPayload) -> Unlearning:
    """Read a certificate.

    Raises:
        MalformedError: wrong form, or it contradicts itself.
        UntrustedError: it speaks for a site other than its signer.
    """
    predicate = intoto.predicate_of(
        payload, UNLEARNING, {"federation", "site", "statements", "before", "after", "certified_at"}
    )
    site = check_site_id(intoto.text_of(predicate, "site"))
    if site != payload.signer.site_id:
        raise UntrustedError(f"{payload.signer.site_id} cannot certify for {site}")
    modules = intoto.subjects_of(payload, limit=MAX_MODULES)
    before = _fields(predicate["before"], {"dataset_root", "classifier"}, "before")
    after = None if predicate["after"] is None else parse_rebuilt(predicate["after"])
    if after is not None and set(modules) & {portion.module for portion in after.portions}:
        raise MalformedError("the certificate contradicts itself: a forgotten module is in use")
    return Unlearning(
        federation_id=payload.signer.federation_id,
        site_id=site,
        modules=modules,
        statements=intoto.digests_of(predicate["statements"], "statements", limit=MAX_MODULES),
        root_before=_digest_or_none(before["dataset_root"]),
        classifier_before=_digest_or_none(before["classifier"]),
        after=after,
        certified_at=intoto.text_of(predicate, "certified_at"),
        digest=payload.digest,
    )


def parse_rebuilt(value: Any) -> Rebuilt:
    """Parse what `Rebuilt.to_dict` writes.

    Raises:
        MalformedError: anything else.
    """
    revision = value.get("revision", 2) if isinstance(value, dict) else None
    if type(revision) is not int or not 1 < revision < 2**31:
        raise MalformedError(f"revision {revision!r} of the federation spec")
    value = _fields(
        value,
        {
            *("spec", "dataset_root", "portions", "classifier", "classes"),
            *("reproducibility", "probe", *({"revision"} & set(value))),
        },
        "after",
    )
    portions, classes = value["portions"], value["classes"]
    if not isinstance(portions, list) or not 0 < len(portions) <= MAX_MODULES:
        raise MalformedError(f"portions: a list of 1 to {MAX_MODULES}")
    if not isinstance(classes, list) or not isinstance(value["reproducibility"], dict):
        raise MalformedError("classes: a list; reproducibility: an object")
    return Rebuilt(
        spec=check_digest(str(value["spec"])),
        dataset_root=check_digest(str(value["dataset_root"])),
        portions=tuple(_portion(item) for item in portions),
        classifier=check_digest(str(value["classifier"])),
        classes=tuple(check_class_name(str(name)) for name in classes),
        reproducibility=value["reproducibility"],
        probe=_probe(value["probe"], len(classes)),
        revision=value.get("revision", 1),
    )


def _portion(value: Any) -> PortionRoot:
    value = _fields(value, {"module", "class", "samples", "root"}, "a portion")
    if type(value["samples"]) is not int or value["samples"] < 1:
        raise MalformedError(f"portion of {value['samples']!r} samples")
    return PortionRoot(
        module=check_digest(str(value["module"])),
        class_name=check_class_name(str(value["class"])),
        samples=value["samples"],
        root=check_digest(str(value["root"])),
    )


def _probe(value: Any, classes: int) -> Probe:
    value = _fields(value, {"blocks", "probabilities"}, "probe")
    blocks = _table(value["blocks"], 255, (PROBE_GRID**2, 3 * PROBE_GRID**2))
    probabilities = _table(value["probabilities"], 10_000, (classes,))
    if len(blocks) != len(probabilities):
        raise MalformedError("probe: as many blocks as probabilities")
    return Probe(blocks, probabilities)


def _table(value: Any, largest: int, widths: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    if (
        not isinstance(value, list)
        or not 0 < len(value) <= MAX_PROBES
        or not all(isinstance(row, list) and len(row) == len(value[0]) for row in value)
        or len(value[0]) not in widths
        or not all(type(item) is int and 0 <= item <= largest for row in value for item in row)
    ):
        raise MalformedError("probe: not a table of whole numbers in range")
    return tuple(tuple(row) for row in value)


def _fields(value: Any, keys: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise MalformedError(f"{what} has exactly the keys {sorted(keys)}")
    return value


def _digest_or_none(value: Any) -> str | None:
    return None if value is None else check_digest(str(value))
