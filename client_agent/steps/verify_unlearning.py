"""Checking an unlearning certificate by doing it again: rebuild without the module, compare.

The rebuilding happens in a new, empty home that receives the modules that are left, checked against
their digests, and nothing else: no shard, no classifier, no trace of the forgotten module. Within
one reproducibility class every digest must be equal. Across classes that cannot be promised, so
what differs is named, and outputs are compared to a stated tolerance instead.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from client_agent.errors import NotReadyError, RefusedError, UsageError
from client_agent.home import Home
from client_agent.progress import SILENT, Progress
from client_agent.registry.fit_record import FitRecord
from client_agent.registry.modules import place
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.site import Site, open_site
from client_agent.steps.fit import build_classifier
from client_agent.steps.reproducibility import differences, fit_reproducibility
from ff_protocol import canonical, dsse
from ff_protocol.clock import utc_now
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES, MAX_SPEC_BYTES
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.unlearning import Probe, Rebuilt, Unlearning, read_unlearning

BLOCK_LEVELS = 3
"""Across classes, block means of images may differ by so many of 255 levels."""

PROBABILITY = 0.05
"""Across classes, the classifier's probabilities may differ by so much on average: training
multiplies a difference in the last bit, so single probabilities may differ more. Measured with
capped instruction sets: about 0.001 (docs/benchmarks.md)."""

AGREEMENT = 0.90
"""Across classes, the classifier's first choice must be the same for this share of the probes."""

Outcome = Literal["identical", "within_tolerance", "different", "nothing_to_rebuild"]


@dataclass(frozen=True)
class Comparison:
    """One digest: what the certificate says and what came out here."""

    what: str
    certified: str
    rebuilt: str

    @property
    def equal(self) -> bool:
        """Whether both are the same."""
        return self.certified == self.rebuilt


@dataclass(frozen=True)
class Outputs:
    """How far the outputs are apart.

    Attributes:
        block_levels: largest difference of a block's mean, in levels of 255.
        probability: mean absolute difference of the probabilities, 0 to 1.
        agreement: share of the probes with the same first choice.
    """

    block_levels: int
    probability: float
    agreement: float

    @property
    def within_tolerance(self) -> bool:
        """Whether all three are within the documented tolerance."""
        return (
            self.block_levels <= BLOCK_LEVELS
            and self.probability <= PROBABILITY
            and self.agreement >= AGREEMENT
        )


@dataclass(frozen=True)
class Verified:
    """What the verification found.

    Attributes:
        outcome: `identical`: every digest is equal. `within_tolerance`: another reproducibility
            class, and the outputs agree. `different`: neither. `nothing_to_rebuild`: fewer than two
            classes were left.
        site: who certified, and `certified_at` when.
        modules: the forgotten modules.
        statements: digest of each revocation that ordered it, and whether it is known here.
        reproducibility: the class of this machine.
        differences: what the certificate's class has otherwise: key to (certified, here).
        comparisons: every digest.
        outputs: how far the outputs are apart; None if nothing was rebuilt.
    """

    outcome: Outcome
    certificate: str
    site: str
    certified_at: str
    modules: tuple[str, ...]
    statements: dict[str, bool]
    reproducibility: dict[str, Any]
    differences: dict[str, tuple[Any, Any]]
    comparisons: tuple[Comparison, ...]
    outputs: Outputs | None


def verify_unlearning(site: Site, certificate: Path, progress: Progress = SILENT) -> Verified:
    """Check a certificate's signature, rebuild what it certifies, compare; note it in the record.

    Args:
        site: holds the federation's root and spec and the modules that are left. Its own shards and
            classifier are not looked at.
        certificate: file from `certificates/unlearning/` of any site.
        progress: watches.

    Raises:
        UsageError: no such file.
        MalformedError, UntrustedError: not a certificate, altered, or not signed by a site.
        RefusedError: it certifies that modules were forgotten which no revocation covers, or which
            are still in use here.
        NotReadyError: a module that it was made with is not here.
    """
    unlearning = read_certificate(site, certificate)
    statements = _statements(site, unlearning)
    here = fit_reproducibility(site.spec)
    after = unlearning.after
    comparisons: tuple[Comparison, ...] = ()
    outputs = None
    if after is None:
        outcome: Outcome = "nothing_to_rebuild"
        different: dict[str, tuple[Any, Any]] = {}
    else:
        rebuilt = _rebuild(site, after, progress).state
        different = differences(after.reproducibility, rebuilt.reproducibility)
        comparisons = _compare(after, rebuilt)
        outputs = compare_outputs(after.probe, rebuilt.probe)
        outcome = decide(comparisons, outputs, same_class=not different)
    site.log.append(
        "verified", certificate=unlearning.digest, site=unlearning.site_id, outcome=outcome
    )
    return Verified(
        outcome=outcome,
        certificate=unlearning.digest,
        site=unlearning.site_id,
        certified_at=unlearning.certified_at,
        modules=unlearning.modules,
        statements=statements,
        reproducibility=here,
        differences=different,
        comparisons=comparisons,
        outputs=outputs,
    )


def read_certificate(site: Site, path: Path) -> Unlearning:
    """Read a certificate and verify its signature and chain.

    Raises:
        UsageError: no such file.
        MalformedError, UntrustedError: not a certificate, altered, or not signed by a site.
    """
    try:
        envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "certificate")
    except OSError as error:
        raise UsageError(
            f"cannot read certificate {path}: {error.strerror}",
            hint="ff-agent status lists those of this site; they lie in certificates/unlearning/",
        ) from error
    return read_unlearning(dsse.verify(envelope, site.trust, (Role.SITE,), at=utc_now()))


def decide(comparisons: tuple[Comparison, ...], outputs: Outputs, *, same_class: bool) -> Outcome:
    """Say what the comparison means: within one class bits decide, across classes outputs do."""
    if all(item.equal for item in comparisons):
        return "identical"
    return "within_tolerance" if not same_class and outputs.within_tolerance else "different"


def compare_outputs(certified: Probe, rebuilt: Probe) -> Outputs:
    """Measure how far two probes are apart; probes of another shape are as far as can be."""
    pairs = [
        (np.array(certified.blocks), np.array(rebuilt.blocks)),
        (np.array(certified.probabilities), np.array(rebuilt.probabilities)),
    ]
    if any(left.shape != right.shape for left, right in pairs):
        return Outputs(255, 1.0, 0.0)
    blocks, probabilities = pairs
    return Outputs(
        block_levels=int(np.abs(blocks[0] - blocks[1]).max()),
        probability=float(np.abs(probabilities[0] - probabilities[1]).mean()) / 10_000,
        agreement=float((probabilities[0].argmax(1) == probabilities[1].argmax(1)).mean()),
    )


def _statements(site: Site, unlearning: Unlearning) -> dict[str, bool]:
    """Say which of the revocations are known here; those that are must cover what was forgotten."""
    revoked = load_revocations(site.home, site.trust)
    known = {entry.digest: entry for entry in (*revoked.relayed, *revoked.local)}
    here = {digest: digest in known for digest in unlearning.statements}
    publishers = {item.module: item.site_id for item in published_modules(site)}
    covered = {
        module
        for module in unlearning.modules
        for digest in unlearning.statements
        if digest in known and known[digest].covers(module, publishers.get(module, ""))
    }
    uncovered = set(unlearning.modules) - covered
    if not unlearning.statements or (all(here.values()) and uncovered):
        raise RefusedError(
            f"the certificate names {min(uncovered, default='nothing')[:12]} as forgotten, and no "
            "revocation that it names covers it"
        )
    return here


def _rebuild(site: Site, after: Rebuilt, progress: Progress) -> FitRecord:
    """Build data set and classifier from the modules named, in a home that holds nothing else."""
    spec = canonical.sha256_hex(canonical.dumps(site.spec.model_dump(mode="json")))
    if spec != after.spec:
        raise NotReadyError(
            "the certificate was made under another federation spec than the one here",
            hint="verify it where that spec is in force",
        )
    with tempfile.TemporaryDirectory(prefix="ff-verify-") as folder:
        clean = Home(Path(folder))
        for source, target in (
            (site.home.site_file, clean.site_file),
            (site.home.root_certificate, clean.root_certificate),
            (site.home.spec_envelope, clean.spec_envelope),
        ):
            write_atomically(target, read_bounded(source, MAX_SPEC_BYTES, source.name))
        for portion in after.portions:
            module = site.home.admitted(portion.module)
            if not module.is_dir() or describe_module(module)[0] != portion.module:
                raise NotReadyError(
                    f"module {portion.module[:12]} ({portion.class_name}), with which the "
                    "certificate was made, is not here",
                    hint="run ff-agent receive; a module revoked since then cannot come back",
                )
            place(module, clean.admitted(portion.module), copy=True)
        record, _ = build_classifier(open_site(clean), progress)
        return record


def _compare(certified: Rebuilt, rebuilt: Rebuilt) -> tuple[Comparison, ...]:
    ours = {portion.module: portion for portion in rebuilt.portions}
    found = []
    for portion in certified.portions:
        other = ours.get(portion.module)
        same = other is not None and (other.samples, other.class_name) == (
            portion.samples,
            portion.class_name,
        )
        root = other.root if other is not None and same else "absent or of another size"
        found.append(Comparison(f"images of {portion.module[:12]}", portion.root, root))
    found.append(Comparison("data set", certified.dataset_root, rebuilt.dataset_root))
    found.append(Comparison("classes", ", ".join(certified.classes), ", ".join(rebuilt.classes)))
    found.append(Comparison("classifier", certified.classifier, rebuilt.classifier))
    return tuple(found)
