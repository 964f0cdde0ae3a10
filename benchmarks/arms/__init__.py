"""The arms of the comparison: each learns from a `Task` and never sees a test image."""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.recovery.task import Arm

TITLES = {
    "own": "each site alone",
    "fedavg": "FedAvg, BatchNorm",
    "fedavg_gn": "FedAvg, GroupNorm",
    "fedprox": "FedProx, BatchNorm",
    "fedprox_gn": "FedProx, GroupNorm",
    "scaffold": "SCAFFOLD, BatchNorm",
    "scaffold_gn": "SCAFFOLD, GroupNorm",
    "poe_local": "product of the sites' own classifiers",
    "gaussian": "Gaussian in PCA space per class",
    "vae": "VAE per class",
    "ddpm": "diffusers' stock DDPM per class",
    "ff": "Federated Factory, synthetic images only",
    "ff_evidence": "Federated Factory, the modules asked, too",
    "ff_mixed": "Federated Factory, own class mixed in",
    "ff_poe": "Federated Factory, mixed, product of experts",
    "centralised": "images pooled, one classifier",
    "centralised_ensemble": "images pooled, ensemble of 5",
}
BY_DEFAULT = tuple(name for name in TITLES if name != "ddpm")
"""The stock recipe is a comparison of generators, not a rival; it is run when asked for."""

SPENDS_BUDGET = frozenset({"vae", "ddpm", "ff", "ff_evidence", "ff_mixed", "ff_poe"})
"""Arms that turn more seconds into better images: `--curve` repeats these alone."""


def find_arm(name: str) -> "Arm":
    """Return the arm `name`, one of `TITLES`."""
    if name in ("own", "poe_local"):
        from benchmarks.arms import local

        return {"own": local.own, "poe_local": local.poe_local}[name]
    if name.startswith("centralised"):
        from benchmarks.arms import centralised

        return partial(centralised.centralised, members=5 if name.endswith("ensemble") else 1)
    if name.startswith("ff"):
        from benchmarks.arms import federated_factory

        return {
            "ff": federated_factory.synthetic_only,
            "ff_evidence": federated_factory.with_evidence,
            "ff_mixed": federated_factory.mixed,
            "ff_poe": federated_factory.mixed_product,
        }[name]
    if name in ("gaussian", "vae", "ddpm"):
        from benchmarks.arms import one_shot

        return partial(one_shot.from_generators, family=name)
    from benchmarks.arms import federated

    method, _, norm = name.partition("_")
    return partial(federated.federated, method=method, group_norm=norm == "gn")
