"""Laying out the hospitals: which one holds which classes, and their images as DICOM files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client_agent.demo.datasets import DemoData
from client_agent.errors import UsageError


@dataclass(frozen=True)
class Hospital:
    """One site of the demonstration.

    Attributes:
        name: site id.
        classes: what it holds.
        members: indices into the training images.
    """

    name: str
    classes: tuple[str, ...]
    members: np.ndarray


def share_out(data: DemoData, sites: int) -> tuple[Hospital, ...]:
    """Divide the classes over `sites` hospitals so that no two share a label.

    With more sites than classes, sites that hold the same class share its images out.

    Raises:
        UsageError: fewer than two sites, or so many that one would have no image.
    """
    if sites < 2:
        raise UsageError("a federation has at least two sites")
    count = len(data.classes)
    by_site: list[list[np.ndarray]] = [[] for _ in range(sites)]
    held: list[list[str]] = [[] for _ in range(sites)]
    blocks = np.array_split(np.arange(count), min(sites, count))
    for block, labels in enumerate(blocks):
        owners = range(block, sites, len(blocks))
        for label in labels:
            members = np.flatnonzero(data.train_labels == label)
            for owner, part in zip(owners, np.array_split(members, len(owners)), strict=True):
                if not len(part):
                    raise UsageError(f"{sites} sites are too many for {data.name}")
                by_site[owner].append(part)
                held[owner].append(data.classes[label])
    return tuple(
        Hospital(f"hospital-{index + 1}", tuple(held[index]), np.concatenate(by_site[index]))
        for index in range(sites)
    )


def write_hospital(data: DemoData, hospital: Hospital, folder: Path, seed: int) -> int:
    """Write a hospital's images as DICOM files, one folder per class; return how many.

    Raises:
        StorageError: the disk refused.
    """
    from client_agent.sources.write_dicom import write_dicom

    for index in hospital.members:
        name = data.classes[int(data.train_labels[index])]
        write_dicom(
            data.train_images[index],
            folder / name / f"{index:06d}.dcm",
            patient_id=f"{hospital.name}-{index}",
            seed=seed,
        )
    return len(hospital.members)
