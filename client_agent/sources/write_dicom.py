"""One 8-bit image as a valid DICOM Secondary Capture file, for the demonstration and for tests."""

import hashlib
import io
from pathlib import Path

import numpy as np

from ff_protocol.files import storage_error


def write_dicom(
    image: np.ndarray, path: Path, *, patient_id: str, seed: int, study: str = ""
) -> str:
    """Write an image; the same arguments give the same bytes.

    UIDs are of the `2.25` form (PS3.5 B.2), from SHA-256 of seed, patient, study and file name.

    Args:
        image: uint8 [H, W, C], C 1 or 3.
        path: the file to write.
        patient_id: Patient ID (0010,0020); the name is left empty.
        seed: makes the UIDs of two runs differ.
        study: tells studies of one patient apart.

    Returns:
        The SOP Instance UID.

    Raises:
        StorageError: the disk refused.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError("image is uint8 [H, W, 1] or [H, W, 3]")
    colour = image.shape[2] == 3
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = _uid(seed, patient_id, study, "instance", path.parent.name, path.name)
    dataset.StudyInstanceUID = _uid(seed, patient_id, study, "study")
    dataset.SeriesInstanceUID = _uid(seed, patient_id, study, "series")
    dataset.PatientID = patient_id
    dataset.PatientName = ""
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.StudyDate = ""
    dataset.StudyTime = ""
    dataset.StudyID = ""
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.Modality = "OT"
    dataset.ConversionType = "SYN"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = image.shape
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    data = np.ascontiguousarray(image).tobytes()
    dataset.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    _write(path, buffer.getvalue())
    return str(dataset.SOPInstanceUID)


def _write(path: Path, data: bytes) -> None:
    """Write whole or not at all; no fsync, for thousands of files that can be made again."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(error, path) from error


def _uid(*parts: object) -> str:
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
