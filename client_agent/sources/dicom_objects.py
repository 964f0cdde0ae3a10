"""Which DICOM objects are images to learn from, by their class and syntax alone: pure rules."""

from client_agent.errors import DataError


class NotAnImageError(DataError):
    """A sound object that is no image for us (a report, a video): left out, not damaged."""


class NotAllowedError(DataError):
    """An image that is left out by a rule of privacy, not for damage."""


_DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.104.1": "a PDF document",
    "1.2.840.10008.5.1.4.1.1.104.2": "a CDA document",
    "1.2.840.10008.5.1.4.1.1.104.3": "a 3D model",
    "1.2.840.10008.5.1.4.1.1.104.4": "a 3D model",
    "1.2.840.10008.5.1.4.1.1.104.5": "a 3D model",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.5": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.481.2": "a dose distribution",
}
"""SOP classes that hold pixels or bytes which are no picture of a patient (PS3.4 B.5)."""

_FAMILIES = {
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report",
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.9.": "a waveform",
}
_VIDEOS = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.7.")
"""MPEG-2, MPEG-4 AVC, HEVC, and live video: 1.2.840.10008.1.2.4.100 to .108 (PS3.5 A.4.5 to 9)."""

_REFERENCED = ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.204",
               "1.2.840.10008.1.2.4.205")  # fmt: skip

BURNED_IN = "text is burned into the pixels (0028,0301), it may name the patient"
BURNED_IN_HINT = "look at them; --allow-burned-in takes them nevertheless"


def other_kind(sop_class: str, syntax: str) -> str | None:
    """Say why an object is no image for us, None if it may be one.

    Args:
        sop_class: SOP Class UID (0008,0016), "" if absent.
        syntax: Transfer Syntax UID (0002,0010), "" if absent.
    """
    if sop_class in _DOCUMENTS:
        return f"holds {_DOCUMENTS[sop_class]}, no image"
    for prefix, what in _FAMILIES.items():
        if sop_class.startswith(prefix):
            return f"holds {what}, no image"
    if syntax.startswith(_VIDEOS):
        return "holds a video, no image"
    if syntax in _REFERENCED:
        return "its pixels lie on another server (JPIP)"
    return None


def pixel_fault(
    sop_class: str, pixels: str, rows: int | None, columns: int | None
) -> DataError | None:
    """Judge an object's image attributes; None if they are those of an image.

    Args:
        sop_class: as above.
        pixels: the element that holds its pixels: `PixelData`, another keyword, or "" for none.
        rows: Rows (0028,0010), None if absent.
        columns: Columns (0028,0011), None if absent.
    """
    if pixels == "PixelData":
        if not rows or not columns:
            return DataError("damaged DICOM file (no rows or columns)")
        return None
    if pixels:
        return NotAnImageError("holds floating-point pixels (a parametric map), no image")
    if rows is not None or _is_image_class(sop_class):
        return DataError("the pixels are missing")
    if not sop_class:
        return DataError("damaged DICOM file (no SOP class)")
    return NotAnImageError("holds no image")


def _is_image_class(sop_class: str) -> bool:
    from pydicom.uid import UID

    return "Image Storage" in UID(sop_class).name
