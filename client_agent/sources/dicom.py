"""DICOM files: pixels as a viewer shows them and the patient as an opaque group key.

Errors and identifiers never carry a header value that names a person.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

from client_agent.errors import DataError
from client_agent.sources.labelled import RawImage

_GROUP_DIGITS = 16


class NotAnImageError(DataError):
    """A DICOM object without pixels (a report, a presentation state): left out, not damaged."""


def read_dicom(path: Path) -> RawImage:
    """Read the middle frame of a DICOM file.

    Raises:
        NotAnImageError: a sound DICOM object that holds no image.
        DataError: not DICOM, damaged, or pixels that cannot be decoded.
    """
    from client_agent.preparation.dicom_pixels import render

    dataset = _open(path)
    _require_pixels(dataset)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of oddities and quotes header values
            rendered = render(dataset)
            group = patient_group(dataset)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a broken header fails anywhere; its text may quote the header
        raise DataError(f"damaged DICOM file ({type(error).__name__})") from error
    return RawImage(rendered.pixels, group)


def read_uid(path: Path) -> str | None:
    """Return a file's SOP Instance UID, or None if it is not DICOM or has none."""
    try:
        dataset = _open(path, only=["SOPInstanceUID"])
    except DataError:
        return None
    value = dataset.get("SOPInstanceUID")
    return str(value) if value else None


def patient_group(dataset: Any) -> str:
    """Return a key that tells patients apart and does not name them, or "" if unknown.

    A hash of an identifier that can be guessed is no secret, so it stays on this machine too.
    """
    patient = str(dataset.get("PatientID", "") or "").strip()
    if not patient:
        return ""
    issuer = str(dataset.get("IssuerOfPatientID", "") or "").strip()
    text = f"ff-patient/1\n{issuer}\n{patient}".encode()
    return hashlib.sha256(text).hexdigest()[:_GROUP_DIGITS]


def _open(path: Path, only: list[str] | None = None) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if only is not None:
                return pydicom.dcmread(path, specific_tags=only, stop_before_pixels=True)
            return pydicom.dcmread(path)
    except PermissionError as error:
        raise DataError("permission denied") from error
    except InvalidDicomError as error:
        raise DataError("not a DICOM file") from error
    except MemoryError:
        raise
    except Exception as error:  # a truncated file fails anywhere in the parser
        raise DataError(f"damaged DICOM file ({type(error).__name__})") from error


def _require_pixels(dataset: Any) -> None:
    if "PixelData" in dataset:
        if "Rows" not in dataset or "Columns" not in dataset:
            raise DataError("damaged DICOM file (no rows or columns)")
        return
    if "Rows" in dataset:
        raise DataError("the pixels are missing")
    if "SOPClassUID" not in dataset:
        raise DataError("damaged DICOM file (no SOP class)")
    raise NotAnImageError("holds no image")
